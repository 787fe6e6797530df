import { randomBytes } from 'node:crypto';
import { existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fault, type Logger } from '#kit';
import type { Applied, NewIdentity } from '../ports.js';
import type { EngineNetwork } from '../transport/network.js';
import { WorkerClient } from './worker-client.js';

export interface EngineHomeOptions {
  readonly stateDir: string;
  readonly worker: URL;
  readonly leases: boolean;
  readonly log: Logger;
  readonly died: (error: Error) => void;
}

/** An engine that runs, and a connection to what it writes. */
export interface OpenEngine {
  readonly client: WorkerClient;
  readonly reader: DatabaseSync;
}

/**
 * Where the engine's files lie, and how another set of them takes their place: the old directory is put aside, and thrown away only once the new
 * one works. Finding it there at a start means that it never came so far.
 */
export class EngineHome {
  readonly #directory: string;
  readonly #aside: string;

  constructor(private readonly options: EngineHomeOptions) {
    this.#directory = join(options.stateDir, 'database');
    this.#aside = join(options.stateDir, 'database.before');
    if (existsSync(this.#aside)) this.putBack();
  }

  async open(identity: NewIdentity, network: EngineNetwork, applied: (applied: Applied) => void): Promise<OpenEngine> {
    const { worker, leases, log, died } = this.options;
    const cluster = identity.cluster ?? randomBytes(16).toString('hex');
    const founders = identity.cluster === undefined ? { founders: [identity.member] } : {};
    const data = {
      directory: this.#directory,
      identity: { cluster, member: identity.member, incarnation: 0, ...founders },
      leases,
      network,
      logLevel: 'info' as const,
    };
    const client = await WorkerClient.start(worker, data, applied, log, died);
    try {
      return { client, reader: new DatabaseSync(join(this.#directory, 'replica.db'), { readOnly: true, timeout: 5000 }) };
    } catch (error) {
      await client.close();
      throw error;
    }
  }

  /** With no engine running: its files make room for others. */
  putAside(): void {
    renameSync(this.#directory, this.#aside);
  }

  /** With no engine running: the others go, and they are back. */
  putBack(): void {
    rmSync(this.#directory, { recursive: true, force: true });
    renameSync(this.#aside, this.#directory);
  }

  /** There is no way back from here. */
  forgetAside(): void {
    const gone = `${this.#aside}.gone`;
    rmSync(gone, { recursive: true, force: true });
    renameSync(this.#aside, gone);
    rmSync(gone, { recursive: true, force: true });
  }
}

/** @throws Fault unavailable if it does not get ready in time */
export async function readyWithin({ client }: OpenEngine, timeoutMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(fault.unavailable('The database did not get ready in time')), timeoutMs);
  });
  try {
    await Promise.race([client.call('ready'), late]);
  } finally {
    clearTimeout(timer);
  }
}
