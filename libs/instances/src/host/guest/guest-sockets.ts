import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isTrue } from '#config-keys';
import { ejectMount, injectMount, RootDir, toHost } from '#host-kit';
import { instanceById, type InstanceRecord } from '../../state/index.js';
import { removeTree } from '../remove-tree.js';
import type { InstanceTools } from '../tools.js';
import { GuestApi } from './guest-api.js';
import { guestEvents, GuestListeners } from './guest-events.js';
import { GuestSocket } from './guest-socket.js';

/** Where a guest sees its directory. */
const insidePath = '/dev/lxd';

/**
 * What running instances are offered at /dev/lxd. Each has a directory and a socket of its own, STATE/devlxd/ID/sock, so that who asks is known by where,
 * and a guest that floods its socket floods no other's. (LXD has one for all, and finds the container of a peer by its process: a number that may be
 * another's by the time that one looks.)
 */
export class GuestSockets {
  readonly #sockets = new Map<number, { socket: GuestSocket; listeners: GuestListeners }>();
  readonly #api: GuestApi;

  constructor(private readonly tools: InstanceTools) {
    this.#api = new GuestApi(tools);
  }

  /** Listens for an instance that starts or is found running, and gives its directory. One that cannot be listened to is told in the log: it may run. */
  async open(record: Pick<InstanceRecord, 'id' | 'name'>): Promise<string> {
    const { id } = record;
    const directory = this.#directory(id);
    await mkdir(directory, { recursive: true, mode: 0o755 });
    if (this.#sockets.has(id)) return directory;
    const listeners = new GuestListeners();
    const guest = { listeners, rootUid: () => this.#rootUid(id), answer: async (url: string) => this.#api.answer(this.tools.again({ id }), url) };
    const socket = new GuestSocket(join(directory, 'sock'), guest, this.tools.log);
    this.#sockets.set(id, { socket, listeners });
    try {
      await socket.listen();
    } catch (error) {
      this.tools.log.warn({ err: error, instance: record.name }, 'could not offer /dev/lxd to an instance');
    }
    return directory;
  }

  /** Its instance has ended. */
  async close({ id }: Pick<InstanceRecord, 'id'>): Promise<void> {
    this.#sockets.get(id)?.socket.close();
    this.#sockets.delete(id);
    await removeTree(this.#directory(id));
  }

  /** Shows or hides the directory in a running instance as security.devlxd says now. @throws Fault */
  async show(before: InstanceRecord, after: InstanceRecord, pid: number): Promise<void> {
    const [was, is] = [before, after].map(({ expandedConfig }) => isTrue(expandedConfig['security.devlxd'], true));
    if (was === is) return;
    using root = RootDir.open(`/proc/${pid}/root`);
    if (is) {
      root.makeDirectories(insidePath, 0o755, rootInside(this.tools, after));
      await injectMount(pid, await this.open(after), insidePath);
    } else if (root.exists(insidePath)) {
      await ejectMount(pid, insidePath);
      root.removeDirectory(insidePath);
    }
  }

  /** An instance was updated while it ran. */
  tell(before: InstanceRecord, after: InstanceRecord, devices: { removed: string[]; updated: string[]; added: string[] }): void {
    const listeners = this.#sockets.get(after.id)?.listeners;
    if (!listeners) return;
    const now = this.tools.context.clock.now();
    for (const event of guestEvents(before, after, devices)) listeners.tell(event, now);
  }

  /** Instances go on; their sockets are taken up again by the next daemon. */
  stop(): void {
    for (const { socket } of this.#sockets.values()) socket.close();
    this.#sockets.clear();
  }

  #rootUid(id: number): number | undefined {
    const record = instanceById(this.tools.reader, id);
    return record && rootInside(this.tools, record).uid;
  }

  #directory(id: number): string {
    return join(this.tools.paths.guest, String(id));
  }
}

function rootInside({ idmaps }: InstanceTools, record: InstanceRecord): { uid: number; gid: number } {
  const idmap = idmaps.current(record);
  return { uid: toHost(idmap, 'uid', 0) ?? 0, gid: toHost(idmap, 'gid', 0) ?? 0 };
}
