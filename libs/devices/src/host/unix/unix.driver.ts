import { existsSync, mkdirSync, readdirSync, rmSync, watch, type FSWatcher } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { isTrue } from '#config-keys';
import { RootDir, type DeviceNode } from '#host-kit';
import { fault, Undo } from '#kit';
import type { HostContext } from '#members';
import type { Device, DeviceDriver, DeviceOwner, PreparedDevice } from '../device-driver.js';
import { encodePath, fstabWord } from '../disk/encode.js';
import { mountInto, rootOwner, unmountFrom } from '../disk/inject.js';
import { allowLine, setAllowed } from './allow.js';
import { deviceRule, hostNode, nodeSpec, type NodeSpec } from './node.js';

/** A node to give, and the path that it has inside. */
export interface FoundNode {
  node: DeviceNode;
  path: string;
}

/**
 * Device nodes: a node of our own in the instance's devices directory, with the owner and mode that the keys say, is mounted onto a file inside. The
 * container can neither make nodes itself nor see the host's.
 */
export class UnixDriver implements DeviceDriver {
  readonly liveKeys: readonly string[] = [];
  readonly #watchers = new Map<string, FSWatcher>();

  constructor(
    private readonly context: HostContext,
    /** What the device's keys select on this host just now. @throws Fault when it is required and not there */
    private readonly find: (device: Device) => readonly FoundNode[],
    /** A node whose coming and going is to be followed; undefined: none. */
    private readonly awaited: (device: Device) => string | undefined = () => undefined,
  ) {}

  async prepare(owner: DeviceOwner, name: string, device: Device): Promise<PreparedDevice> {
    await using undo = new Undo(this.context.log);
    undo.add('nodes', () => this.#removeNodes(owner, name));
    const specs = this.#specs(owner, device);
    const lxc = specs.flatMap((spec): [string, string][] => {
      const path = this.#makeNode(owner, name, spec);
      const entry: [string, string] = ['lxc.mount.entry', `${fstabWord(path)} ${fstabWord(spec.target)} none bind,create=file 0 0`];
      return [...(this.#isTaken(owner, name, spec.target) ? [] : [entry]), allowLine(deviceRule(spec))];
    });
    undo.drop();
    const afterStart = (pid: number): Promise<void> => {
      this.#follow({ ...owner, pid }, name, device);
      return Promise.resolve();
    };
    return { lxc, afterStart };
  }

  async attach(owner: DeviceOwner, name: string, device: Device): Promise<void> {
    await using undo = new Undo(this.context.log);
    undo.add('device', () => this.detach(owner, name));
    for (const spec of this.#specs(owner, device)) await this.#give(owner, name, spec);
    this.#follow(owner, name, device);
    undo.drop();
  }

  async detach(owner: DeviceOwner, name: string): Promise<void> {
    this.#unfollow(owner, name);
    if (owner.pid !== undefined) for (const file of this.#files(owner, name)) await this.#take(owner, name, file);
    await this.#removeNodes(owner, name);
  }

  /** No key of it changes in place. */
  update(): Promise<void> {
    return Promise.resolve();
  }

  resume(owner: DeviceOwner, name: string, device: Device): Promise<void> {
    this.#follow(owner, name, device);
    return Promise.resolve();
  }

  #specs(owner: DeviceOwner, device: Device): NodeSpec[] {
    return this.find(device).map(({ node, path }) => nodeSpec(device, node, path, owner.idmap));
  }

  async #give(owner: DeviceOwner, name: string, spec: NodeSpec): Promise<void> {
    const path = this.#makeNode(owner, name, spec);
    await setAllowed(this.context, owner, deviceRule(spec), true);
    if (!this.#isTaken(owner, name, spec.target)) await mountInto(owner.pid!, path, spec.target, { file: true, owner: rootOwner(owner) });
  }

  /** Out of the container; another device that gives the same node keeps its right to it. */
  async #take(owner: DeviceOwner, name: string, file: string): Promise<void> {
    const node = hostNode(join(owner.devicesDir, file));
    const target = decodeTarget(file, name);
    if (!this.#isTaken(owner, name, target)) await unmountFrom(owner.pid!, target);
    const others = this.#allNodes(owner).filter((other) => other !== file);
    const rule = node && deviceRule(node);
    const shared = others.some((other) => {
      const theirs = hostNode(join(owner.devicesDir, other));
      return theirs !== undefined && deviceRule(theirs) === rule;
    });
    if (rule && !shared) await setAllowed(this.context, owner, rule, false);
  }

  /** @returns its path */
  #makeNode(owner: DeviceOwner, name: string, spec: NodeSpec): string {
    mkdirSync(owner.devicesDir, { recursive: true, mode: 0o711 });
    const file = `${prefixOf(name)}${encodePath(spec.target)}`;
    rmSync(join(owner.devicesDir, file), { force: true });
    using dir = RootDir.open(owner.devicesDir);
    dir.makeDevice(file, spec, spec.mode, spec.owner);
    return join(owner.devicesDir, file);
  }

  #allNodes(owner: DeviceOwner): string[] {
    return existsSync(owner.devicesDir) ? readdirSync(owner.devicesDir).filter((file) => file.startsWith('unix.')) : [];
  }

  #files(owner: DeviceOwner, name: string): string[] {
    return this.#allNodes(owner).filter((file) => file.startsWith(prefixOf(name)));
  }

  /** Another device of the instance has its node there: it was first, and stays. */
  #isTaken(owner: DeviceOwner, name: string, target: string): boolean {
    const mine = new Set(this.#files(owner, name));
    return this.#allNodes(owner).some((file) => !mine.has(file) && file.endsWith(`.${encodePath(target)}`));
  }

  #removeNodes(owner: DeviceOwner, name: string): Promise<void> {
    for (const file of this.#files(owner, name)) rmSync(join(owner.devicesDir, file), { force: true });
    return Promise.resolve();
  }

  /** A node that need not be there is given when it comes and taken when it goes, as long as the instance runs. */
  #follow(owner: DeviceOwner, name: string, device: Device): void {
    const path = this.awaited(device);
    if (path === undefined || owner.pid === undefined) return;
    this.#unfollow(owner, name);
    // The folder that is to hold it may not be there yet either.
    let folder = dirname(path);
    while (!existsSync(folder)) folder = dirname(folder);
    const next = path.slice(folder.length).split('/').find(Boolean);
    let busy: Promise<void> = Promise.resolve();
    const look = async (): Promise<void> => {
      const [present] = this.#specs(owner, device);
      const files = this.#files(owner, name);
      if (present && files.length === 0) await this.#give(owner, name, present);
      else if (!present && files.length > 0) {
        for (const file of files) await this.#take(owner, name, file);
        await this.#removeNodes(owner, name);
      }
      const moved = existsSync(folder) ? folder !== dirname(path) && existsSync(join(folder, next!)) : true;
      if (moved && this.#watchers.get(`${owner.id}/${name}`) === watcher) {
        this.#follow(owner, name, device);
        await look();
      }
    };
    const watcher = watch(folder, { persistent: false }, (_event, file) => {
      if (file !== next && file !== basename(folder)) return;
      busy = busy
        .then(look)
        .catch((error: unknown) => this.context.log.warn({ err: error, instance: owner.name, device: name }, 'could not follow a device'));
    });
    watcher.on('error', () => watcher.close());
    this.#watchers.set(`${owner.id}/${name}`, watcher);
  }

  #unfollow(owner: DeviceOwner, name: string): void {
    this.#watchers.get(`${owner.id}/${name}`)?.close();
    this.#watchers.delete(`${owner.id}/${name}`);
  }
}

/** Devices `a` and `a.b` must not take each other's files: the dot that ends a name cannot be part of an encoded one. */
const prefixOf = (name: string): string => `unix.${encodePath(name)}.`;

function decodeTarget(file: string, name: string): string {
  return file.slice(prefixOf(name).length).replaceAll(/--|-/g, (found) => (found === '--' ? '-' : '/'));
}

const isRequired = (device: Device): boolean => isTrue(device['required'], true);

/** unix-char and unix-block: one node, by path or by numbers. */
export function findUnixNode(device: Device): FoundNode[] {
  const source = device['source'] || device['path']!;
  const path = device['path'] || device['source']!;
  const type = device['type'] === 'unix-block' ? 'block' : 'char';
  const found = hostNode(source);
  if (found && found.type !== type) throw fault.invalid(`Path specified is not a ${device['type']} device`);
  if (device['major'] && device['minor']) return [{ path, node: { type, major: Number(device['major']), minor: Number(device['minor']) } }];
  if (found) return [{ path, node: found }];
  if (isRequired(device)) throw fault.invalid("The required device path doesn't exist and the major and minor settings are not specified");
  return [];
}

/** The node of a device that may come and go. */
export const awaitedUnixNode = (device: Device): string | undefined =>
  isRequired(device) || (device['major'] && device['minor']) ? undefined : device['source'] || device['path'];
