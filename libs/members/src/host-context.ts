import type { Clock, Logger } from '#kit';
import type { LocalStore, Replica } from '#replica';
import type { Members } from './calls.js';

/** Facts of this member and its state directory that do not change while it runs. */
export interface ServerInfo {
  stateDir: string;
  /** `none` when standalone. */
  memberName(): string;
  memberId: number;
  startedAt: Date;
  pid: number;
  version: string;
  /** PEM of the server certificate. */
  certificate(): string;
  fingerprint(): string;
  /** Resolves once what starts by itself was started, or could not be. Absent: nothing does. */
  autostarted?(): Promise<void>;
  /** Stops the daemon: answers when all is stopped. */
  shutdown(options: { force: boolean }): Promise<void>;
}

/**
 * Names that the host sees. Several daemons may share one host: unless this one owns the default state directory, every such name carries the
 * directory's hash.
 */
export interface Naming {
  /** Six hex digits of the state directory's path; '' for the default directory. */
  readonly hash: string;
  /** LXC name (and so cgroups lxc.payload.NAME) of an instance: `[hash-]project_name`, or `[hash-]name` in the default project. */
  lxc(project: string, instance: string): string;
  /** nftables table: `muster` or `muster_hash`. */
  readonly nftTable: string;
}

/** What every host wing is given: one each per process. */
export interface HostContext {
  replica: Replica;
  /** This member's own database, never replicated. */
  local: LocalStore;
  members: Members;
  server: ServerInfo;
  naming: Naming;
  clock: Clock;
  log: Logger;
}

/** Something that was started and can be stopped: what each app's `app.ts` answers. */
export interface Running {
  /** Resolves when all of it has stopped. Never rejects: what would not stop is logged. */
  stop(): Promise<void>;
}
