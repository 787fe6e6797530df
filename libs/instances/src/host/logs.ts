import { createReadStream, existsSync } from 'node:fs';
import { open, readdir, rm, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '#host-kit';
import { fault } from '#kit';
import type { CallContext, FileReply } from '#members';
import { isRunning } from '../model/index.js';
import type { InstanceRecord } from '../state/index.js';
import type { InstancePower } from './power.js';
import type { InstanceTools } from './tools.js';

const consoleLog = 'console.log';

/** Logs of this member's instances: LXC's, recorded output of commands, the console. */
export class InstanceLogs {
  constructor(
    private readonly tools: InstanceTools,
    private readonly power: InstancePower,
  ) {}

  async list(record: InstanceRecord): Promise<string[]> {
    const directory = this.tools.paths.logs(record);
    if (!existsSync(directory)) return [];
    return (await readdir(directory)).filter(isLogName).sort();
  }

  /** @throws Fault invalid for a name that is no log's, notFound */
  async read(record: InstanceRecord, name: string): Promise<FileReply> {
    if (!isLogName(name)) throw fault.invalid(`Log file name "${name}" not valid`);
    return this.#offer(join(this.tools.paths.logs(record), name));
  }

  /** Recorded output may go; what the instance still writes may not. @throws Fault invalid, notFound */
  async remove(record: InstanceRecord, name: string): Promise<void> {
    if (!isLogName(name)) throw fault.invalid(`Log file name "${name}" not valid`);
    if (!name.startsWith('exec_') && name !== 'lxc.log.old') throw fault.invalid('Only log files excluding qemu.log and lxc.log may be deleted');
    await rm(join(this.tools.paths.logs(record), name)).catch(translate);
  }

  /** What the console showed. @throws Fault internal where there is none, as LXD says it */
  async readConsole(record: InstanceRecord, by: CallContext): Promise<FileReply> {
    const file = join(this.tools.paths.logs(record), consoleLog);
    if (!existsSync(file)) throw fault.internal('open : no such file or directory', { status: 500 });
    this.tools.tell(record, 'instance-console-retrieved', by);
    return this.#offer(file);
  }

  async clearConsole(record: InstanceRecord, by: CallContext): Promise<void> {
    const file = join(this.tools.paths.logs(record), consoleLog);
    // The monitor has it open: a new file would never be written to.
    if (isRunning((await this.power.power(record)).state)) await truncate(file).catch(unlessMissing);
    else await rm(file, { force: true });
    this.tools.tell(record, 'instance-console-reset', by);
  }

  /** The length as it is now: what is written meanwhile is not sent. */
  async #offer(path: string): Promise<FileReply> {
    const { size, mtime } = await stat(path).catch(translate);
    const handle = await open(path, 'r');
    const stream = createReadStream('', { fd: handle, end: Math.max(size - 1, 0) });
    const ticket = this.tools.context.members.streams.offer(stream);
    return { type: 'file', uid: 0, gid: 0, mode: 0o600, modified: mtime.toISOString(), size, ticket, names: [], target: '' };
  }
}

/** Names that may be asked for: nothing with a slash, nothing that is not a log of ours. */
export const isLogName = (name: string): boolean =>
  !name.includes('/') &&
  /^(lxc\.conf|lxc\.log|lxc\.log\.old|console\.log|qemu\.log|exec_[0-9a-f-]{36}\.(stdout|stderr)|(?:migration|snapshot)_.*\.log)$/.test(name) &&
  name !== consoleLog;

function translate(error: unknown): never {
  if (errorCode(error) === 'ENOENT') throw fault.notFound('Not Found', { cause: error });
  throw error;
}

function unlessMissing(error: unknown): void {
  if (errorCode(error) !== 'ENOENT') throw error;
}
