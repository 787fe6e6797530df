import { createHash } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Operation } from '#api-contract';
import type { DeviceDriver } from '#devices/host';
import { MemberEventHub } from '#events/host';
import { imagesState } from '#images/state';
import { silent, systemClock, type Logger } from '#kit';
import { DirectMembers, InstancesAgentService, StorageAgentService, type CallContext, type Calls, type HostContext } from '#members';
import { networksState } from '#networks/state';
import { MemberOperations } from '#operations/host';
import { profilesState } from '#profiles/state';
import { projectsState } from '#projects/state';
import { openLocalStore, type LocalStore } from '#replica';
import { internalIdentity } from '#replica/state';
import { StorageAgent } from '#storage/host';
import { storageState } from '#storage/state';
import { MemoryReplica } from '#testkit';
import { instance, instances, instancesState, type InstanceRecord } from '../../state/index.js';
import { InstancesAgent } from '../agent.js';
import { makeBusyboxRootfs } from './busybox-rootfs.js';

/** Devices that a container can do without here: its root is the instance's own. */
const inert: DeviceDriver = {
  liveKeys: [],
  prepare: async () => ({ lxc: [] }),
  attach: async () => {},
  detach: async () => {},
  update: async () => {},
};

export const call: CallContext = { identity: internalIdentity, requestId: 'r' };

/** One member with a real dir pool and real containers of busybox; every name carries the hash of its directory. */
export class MemberRig {
  readonly stateDir = mkdtempSync(join(tmpdir(), 'muster-inst-'));
  readonly hash = createHash('sha256').update(this.stateDir).digest('hex').slice(0, 6);
  replica: MemoryReplica;
  context: HostContext;
  events: MemberEventHub;
  operations: MemberOperations;
  agent: InstancesAgent;
  #local: LocalStore;
  #storage: StorageAgent;

  async open(log: Logger = silent): Promise<this> {
    chmodSync(this.stateDir, 0o711);
    this.replica = await MemoryReplica.open({ wings: [projectsState, profilesState, networksState, storageState, imagesState, instancesState] });
    this.#local = openLocalStore(':memory:');
    await this.boot(log);
    await this.#calls(StorageAgentService).createPool({ name: 'local', driver: 'dir', description: '', config: {} }, call);
    return this;
  }

  /** A daemon on the same directory and databases: what a restart finds. */
  async boot(log: Logger = silent): Promise<void> {
    this.context = {
      replica: this.replica,
      local: this.#local,
      members: new DirectMembers({ checked: true, memberName: () => 'none' }),
      server: { stateDir: this.stateDir, memberName: () => 'none', memberId: 1, fingerprint: () => this.hash },
      naming: {
        hash: this.hash,
        nftTable: `muster_${this.hash}`,
        lxc: (project: string, name: string) => `${this.hash}-${project === 'default' ? '' : `${project}_`}${name}`,
      },
      clock: systemClock,
      log,
    } as unknown as HostContext;
    this.events = new MemberEventHub({ clock: systemClock, location: () => 'none' });
    this.operations = new MemberOperations({
      local: this.#local,
      events: this.events,
      clock: systemClock,
      log,
      memberId: () => 1,
      location: () => 'none',
    });
    this.#storage = new StorageAgent({
      context: this.context,
      operations: this.operations,
      warnings: { raise: () => {}, resolve: () => {} } as never,
    });
    await this.#storage.start();
    this.agent = new InstancesAgent({
      context: this.context,
      storage: this.#storage.storage,
      images: {
        fill: async (_fingerprint, path) => {
          makeBusyboxRootfs(join(path, 'rootfs'));
          writeFileSync(join(path, 'metadata.yaml'), 'architecture: x86_64\ncreation_date: 1\n');
        },
        has: async () => true,
        fetch: async () => '',
      },
      devices: { driver: () => inert },
      operations: this.operations,
      events: this.events,
      randomMac: () => '00:16:3e:00:00:01',
    });
    await this.agent.start();
  }

  /** As a daemon that ends while everything goes on. */
  async halt(): Promise<void> {
    await this.agent.stop({ host: false });
    await this.#storage.stop({ unmount: false });
  }

  async close(): Promise<void> {
    for (const record of instances(this.replica.reader)) await this.agent.lifecycle.removeAll(record, call).catch(() => {});
    await this.halt();
    await this.#storage.stop({ unmount: true });
    await this.replica.close();
    this.#local.close();
    rmSync(this.stateDir, { recursive: true, force: true });
  }

  get calls(): Calls<typeof InstancesAgentService> {
    return this.#calls(InstancesAgentService);
  }

  #calls<S extends Parameters<DirectMembers['calls']>[0]>(service: S): Calls<S> {
    return this.context.members.calls(service);
  }

  /** Waits for the operation that a call started. */
  async done(reply: Promise<{ operation?: { [key: string]: unknown } }>): Promise<Operation> {
    const { operation } = await reply;
    return this.operations.wait((operation as unknown as Operation).id);
  }

  /** @throws what the operation failed with */
  async ok(reply: Promise<{ operation?: { [key: string]: unknown } }>): Promise<Operation> {
    const operation = await this.done(reply);
    if (operation.err !== '') throw new Error(operation.err);
    return operation;
  }

  create(name: string, more: Record<string, unknown> = {}): Promise<Operation> {
    const post = {
      name,
      type: 'container',
      architecture: 'x86_64',
      description: '',
      ephemeral: false,
      stateful: false,
      config: {},
      devices: { root: { type: 'disk', path: '/', pool: 'local' } },
      profiles: ['default'],
      source: { type: 'none' },
      ...more,
    };
    return this.done(this.calls.createInstance({ project: 'default', post }, call));
  }

  /** A created instance gets its busybox without an image's row. */
  async createBusybox(name: string, more: Record<string, unknown> = {}): Promise<InstanceRecord> {
    const created = await this.create(name, more);
    if (created.err !== '') throw new Error(created.err);
    makeBusyboxRootfs(join(this.stateDir, 'containers', name, 'rootfs'));
    return this.record(name);
  }

  act(name: string, action: string, more: Record<string, unknown> = {}): Promise<Operation> {
    return this.done(
      this.calls.changeInstanceState(
        { instance: { project: 'default', name }, put: { action, timeout: -1, force: false, stateful: false, ...more } },
        call,
      ),
    );
  }

  record(name: string): InstanceRecord {
    return instance(this.replica.reader, 'default', name);
  }
}
