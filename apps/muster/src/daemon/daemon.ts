import { X509Certificate } from 'node:crypto';
import { chmodSync, mkdirSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { controllers, providers, startGateway } from '#apps/api-gateway';
import { schema, startAgent } from '#apps/member-agent';
import { startScheduler } from '#apps/scheduler';
import { MemberEventHub } from '#events/host';
import { serverCertificate } from '#identities/host';
import { systemClock, type Logger } from '#kit';
import { DirectMembers, type ServerInfo } from '#members';
import { openLocalStore, openReplica } from '#replica';
import { version } from '../version.js';
import { namingOf } from './naming.js';

export interface DaemonOptions {
  stateDir: string;
  log: Logger;
  /** Group that may use the unix socket, beside root. */
  group?: string;
}

export interface Daemon {
  /**
   * Ends the daemon. With `host` the machine (or the user) wants everything down: instances stop first. Without it they go on and are found again.
   * Repeating it is safe: every caller waits for the same end.
   */
  stop(options: { host: boolean }): Promise<void>;
  /** Resolves when it has stopped, whoever asked. */
  readonly ended: Promise<void>;
}

/** One member in one process: engine (in its worker), agent, scheduler, gateway, in this order. */
export async function startDaemon({ stateDir, log, group }: DaemonOptions): Promise<Daemon> {
  const startedAt = new Date();
  mkdirSync(stateDir, { recursive: true, mode: 0o711 });
  // Mapped roots of containers pass through here on the way to their file systems.
  chmodSync(stateDir, 0o711);

  const clock = systemClock;
  const worker = new URL('../../../member-agent/src/engine-worker.js', import.meta.url);
  const replica = await openReplica({ stateDir, wings: schema, worker, log });
  const local = openLocalStore(join(stateDir, 'local.db'));
  const keyPair = await serverCertificate(stateDir, hostname());
  const fingerprint = new X509Certificate(keyPair.certificate).fingerprint256.replaceAll(':', '').toLowerCase();
  const { member } = await replica.status();

  const memberName = (): string => 'none';
  const members = new DirectMembers({ checked: process.env.MUSTER_CHECKED === '1', memberName });
  const events = new MemberEventHub({ clock, location: memberName });
  const server: ServerInfo = {
    stateDir,
    memberName,
    memberId: member.id,
    startedAt,
    pid: process.pid,
    version,
    certificate: () => keyPair.certificate,
    fingerprint: () => fingerprint,
    shutdown: () => stopServices(true),
  };
  const context = { replica, local, members, server, naming: namingOf(stateDir), clock, log };
  const agent = await startAgent({ ...context, events });
  const scheduler = await startScheduler(context);
  const config = agent.server.config.read();
  const gateway = await startGateway({
    ...context,
    events,
    operations: agent.operations,
    stateDir,
    socketGroup: group,
    keyPair,
    httpsAddress: config['core.https_address'],
    metricsAddress: config['core.metrics_address'],
    controllers,
    providers,
  });
  log.info({ ms: Date.now() - startedAt.getTime(), socket: gateway.socketPath, stateDir }, 'serving');
  agent.autostart();

  const { promise: ended, resolve } = Promise.withResolvers<void>();
  let stopping: Promise<void> | undefined;
  /** Everything that works; the sockets stay, so that who asked for the end hears of it. */
  const stopServices = (host: boolean): Promise<void> =>
    (stopping ??= (async () => {
      gateway.setPhase('stopping');
      await scheduler.stop();
      await agent.stop({ host });
      setImmediate(() => void close());
    })());
  const close = async (): Promise<void> => {
    events.close('server is shutting down');
    // The streams say so before their connections are cut.
    await new Promise(setImmediate);
    await gateway.close();
    await replica.close();
    local.close();
    resolve();
  };
  return {
    ended,
    async stop({ host }) {
      await stopServices(host);
      await ended;
    },
  };
}
