import type { Duplex } from 'node:stream';
import { fault } from '#kit';
import type { InstanceRecord } from '../../state/index.js';
import type { InstanceFiles } from '../files.js';
import type { InstanceTools } from '../tools.js';
import { BadMessage } from './packets.js';
import { serveSftp } from './sftp-server.js';

/** Clients of one instance; each holds its root open. */
const sessionsMax = 64;

/** Clients of SFTP that look into this member's instances. */
export class InstanceSftp {
  readonly #sessions = new Map<number, Map<Duplex, Promise<void>>>();

  constructor(
    private readonly tools: InstanceTools,
    private readonly files: InstanceFiles,
  ) {}

  /** Resolves when the client is served. `connect` is called, and the connection ours, only when nothing is left that could refuse. @throws Fault */
  async serve(record: InstanceRecord, connect: () => Duplex): Promise<void> {
    const sessions = this.#sessions.get(record.id) ?? new Map<Duplex, Promise<void>>();
    if (sessions.size >= sessionsMax) throw fault.unavailable('Too many SFTP connections to the instance');
    const open = await this.files.open(record);
    let stream: Duplex;
    try {
      stream = connect();
    } catch (error) {
      await open[Symbol.asyncDispose]();
      throw error;
    }
    stream.on('error', () => stream.destroy());
    stream.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: sftp\r\nConnection: Upgrade\r\n\r\n');
    this.#sessions.set(record.id, sessions);
    const served = serveSftp(stream, open)
      .catch((error: unknown) =>
        this.tools.log.debug({ err: error instanceof BadMessage ? error.message : error, instance: record.name }, 'SFTP ended'),
      )
      .finally(async () => {
        sessions.delete(stream);
        if (sessions.size === 0 && this.#sessions.get(record.id) === sessions) this.#sessions.delete(record.id);
        await open[Symbol.asyncDispose]();
      });
    sessions.set(stream, served);
  }

  /** The instance starts, has ended or goes: its root is another now. Resolves when nothing of it is open any more. */
  async end(id: number): Promise<void> {
    const sessions = [...(this.#sessions.get(id) ?? [])];
    for (const [stream] of sessions) stream.destroy();
    await Promise.all(sessions.map(([, served]) => served));
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#sessions.keys()].map((id) => this.end(id)));
  }
}
