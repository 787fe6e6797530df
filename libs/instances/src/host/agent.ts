import type { Duplex, Readable } from 'node:stream';
import { InstancesAgentService, type CallContext, type Calls, type FileReply, type InstanceMessage, type WriteFileRequest } from '#members';
import {
  zeroTime,
  type InstancePut,
  type InstanceSource,
  type InstancesPost,
  type InstanceState,
  type InstanceType,
  type Operation,
} from '#api-contract';
import { isTrue } from '#config-keys';
import { fault, Fault } from '#kit';
import { findImage } from '#images/state';
import { project as projectOf, effectiveProject } from '#projects/state';
import { profilesNamed } from '#profiles/state';
import type { MetricsSource } from '#server/host';
import { serverValue } from '#server/state';
import type { VolumeSource } from '#storage/host';
import { actionDescriptions, isAction, isRunning, type Action } from '../model/index.js';
import { expand } from '#profiles/model';
import * as state from '../state/index.js';
import type { InstanceRecord } from '../state/index.js';
import { CpuBalance } from './cpus.js';
import type { DriverOptions, InstanceDriver, Probe } from './driver.js';
import { InstanceExec, type ExecPost } from './exec.js';
import { InstanceFiles } from './files.js';
import { GuestSockets } from './guest/guest-sockets.js';
import { InstanceIntents } from './intents.js';
import { InstanceStates } from './instance-state.js';
import { InstanceLifecycle } from './lifecycle.js';
import { InstanceLogs } from './logs.js';
import { instanceMetrics } from './metrics.js';
import { InstanceMetadata } from './metadata.js';
import { OwnedDevices } from './owned-devices.js';
import type { InstanceHostPorts } from './ports.js';
import { InstancePower } from './power.js';
import { autostart, recoverInstances, stopAll } from './recovery.js';
import { drivers } from './registry.js';
import { InstanceSftp } from './sftp/instance-sftp.js';
import { InstanceSnapshots } from './snapshots.js';
import { Templates } from './templates.js';
import { InstanceTools } from './tools.js';

const expireEveryMs = 60_000;
const stateDeadlineMs = 2_000;

interface StatePut {
  action: Action;
  /** Seconds; below 0: for ever. */
  timeout: number;
  force: boolean;
  stateful: boolean;
}

/** The instances of this member: what the agent starts after storage and networks, and offers to the gateway. */
export class InstancesAgent {
  readonly tools: InstanceTools;
  readonly power: InstancePower;
  readonly lifecycle: InstanceLifecycle;
  readonly snapshots: InstanceSnapshots;
  readonly states: InstanceStates;
  readonly files: InstanceFiles;
  readonly #sftp: InstanceSftp;
  readonly metadata: InstanceMetadata;
  readonly devices: OwnedDevices;
  readonly #guests: GuestSockets;
  readonly #intents: InstanceIntents;
  readonly #exec: InstanceExec;
  readonly #logs: InstanceLogs;
  readonly #cpus: CpuBalance;
  readonly #drivers: Partial<Record<InstanceType, InstanceDriver>>;
  #expiry?: NodeJS.Timeout;

  constructor(private readonly ports: InstanceHostPorts) {
    const { context } = ports;
    const options: DriverOptions = { onEnded: (ending) => this.power.ended(ending) };
    this.#drivers = ports.drivers?.(options) ?? { container: drivers.lxc({ ...options, stateDir: context.server.stateDir, log: context.log }) };
    this.tools = new InstanceTools(ports, this.#drivers);
    this.devices = new OwnedDevices(this.tools);
    this.#guests = new GuestSockets(this.tools);
    this.#intents = new InstanceIntents(context.local);
    this.power = new InstancePower(this.tools, this.devices, new Templates(this.tools), this.#guests);
    this.lifecycle = new InstanceLifecycle(this.tools, this.devices, this.power, this.#intents, this.#guests);
    this.snapshots = new InstanceSnapshots(this.tools, this.power, this.devices, this.#intents);
    this.states = new InstanceStates(this.tools);
    this.files = new InstanceFiles(this.tools, this.power);
    this.#sftp = new InstanceSftp(this.tools, this.files);
    this.power.rootChanges = ({ id }) => this.#sftp.end(id);
    this.power.beforeStart = (record, by) => this.snapshots.atStartup(record, by);
    this.metadata = new InstanceMetadata(this.tools);
    this.#exec = new InstanceExec(this.tools, this.power);
    this.#logs = new InstanceLogs(this.tools, this.power);
    this.#cpus = new CpuBalance(this.tools);
    this.power.changed = () => this.#cpus.schedule();
  }

  /** Figures of what runs here, for GET /1.0/metrics. */
  metrics(): MetricsSource {
    return instanceMetrics(this.tools, this.states);
  }

  /** What can run instances here, by the driver's name. Never throws. */
  async probe(): Promise<Record<string, Probe>> {
    const all = Object.values(this.#drivers);
    return Object.fromEntries(await Promise.all(all.map(async (driver) => [driver.name, await driver.probe()] as const)));
  }

  /** Finds what runs, settles what was cut off, and answers from then on. Storage and networks are up. */
  async start(): Promise<void> {
    this.tools.writer.drain();
    await recoverInstances({ ...this, intents: this.#intents });
    this.#cpus.schedule();
    this.tools.context.members.serve(InstancesAgentService, this.#calls());
    this.#expiry = setInterval(() => void this.#expireSnapshots(), expireEveryMs);
    this.#expiry.unref();
  }

  /** Once everything listens. */
  autostart(): Promise<void> {
    return autostart(this);
  }

  /** `host`: the machine goes down, and everything stops; otherwise all goes on running without us. */
  async stop(options: { host: boolean }): Promise<void> {
    clearInterval(this.#expiry);
    await this.#sftp.stop();
    if (options.host) await stopAll(this);
    this.#guests.stop();
    this.#cpus.stop();
    this.tools.writer.stop();
    for (const driver of Object.values(this.#drivers)) driver.close();
  }

  #calls(): Calls<typeof InstancesAgentService> {
    const nothing = {};
    return {
      createInstance: async ({ project, post }, call) => ({ operation: this.#create(project, post as unknown as CreatePost, call) }),
      replaceInstance: async ({ instance, put, ifMatch }, call) => {
        const record = this.#named(instance);
        const wanted = put as unknown as InstancePut;
        if (wanted.restore) {
          const snapshot = wanted.restore.slice(wanted.restore.lastIndexOf('/') + 1);
          return this.#operation('Restoring snapshot', record, call, () => this.snapshots.restore(record, snapshot, call));
        }
        return this.#operation('Updating instance', record, call, () => this.#update(record, wanted, call, ifMatch));
      },
      patchInstance: async ({ instance, put, ifMatch }, call) => {
        await this.#update(this.#named(instance), put as unknown as InstancePut, call, ifMatch);
        return nothing;
      },
      renameInstance: async ({ instance, newName }, call) => {
        const record = this.#named(instance);
        return this.#operation('Renaming instance', record, call, () => this.lifecycle.rename(record, newName, call));
      },
      deleteInstance: async (instance, call) => {
        const record = this.#named(instance);
        if (isRunning((await this.power.power(record)).state)) throw fault.invalid('Instance is running');
        return this.#operation('Deleting instance', record, call, () => this.lifecycle.remove(record, call));
      },
      changeInstanceState: async ({ instance, put }, call) => {
        const record = this.#named(instance);
        const wanted = statePut(put);
        return this.#operation(actionDescriptions[wanted.action], record, call, (progress) => this.#act(record, wanted, call, progress));
      },
      changeInstanceStates: async ({ project, put }, call) => this.#actOnAll(project, statePut(put), call),
      profileChanged: async ({ project, name, before }, call) => {
        await this.#profileChanged(
          project,
          name,
          before as unknown as { config: Record<string, string>; devices: Record<string, Record<string, string>> },
          call,
        );
        return nothing;
      },
      instanceStates: async ({ ids }) => ({ states: await this.#statesOf(ids) }),

      execInstance: async ({ instance, exec }, call) => ({ operation: await this.#exec.exec(this.#named(instance), execPost(exec ?? {}), call) }),
      consoleInstance: async ({ instance, width, height }, call) => ({
        operation: await this.#exec.console(this.#named(instance), { width, height }, call),
      }),

      statFile: ({ instance, path }) => this.files.stat(this.#named(instance), path),
      readFile: ({ instance, path }, call) => this.files.read(this.#named(instance), path, call),
      writeFile: async (request, call) => {
        const { instance, path, type, append, uid, gid, mode } = request;
        await this.files.write(this.#named(instance), path, { type, append, uid, gid, mode, body: this.#body(request) }, call);
        return nothing;
      },
      deleteFile: async ({ instance, path }, call) => {
        await this.files.remove(this.#named(instance), path, call);
        return nothing;
      },

      serveSftp: async ({ instance, ticket }) => {
        await this.#sftp.serve(this.#named(instance), () => this.#connection(ticket));
        return nothing;
      },

      createInstanceSnapshot: async ({ instance, name, stateful, expiresAt }, call) => {
        const record = this.#named(instance);
        const wanted = { name: name || this.snapshots.nextName(record), stateful, expiresAt: expiresAt === zeroTime ? '' : expiresAt };
        return this.#operation('Snapshotting instance', record, call, () => this.snapshots.create(record, wanted, call));
      },
      renameInstanceSnapshot: async ({ instance, name, newName }, call) => {
        const record = this.#named(instance);
        return this.#operation('Renaming snapshot', record, call, () => this.snapshots.rename(record, name, newName, call));
      },
      deleteInstanceSnapshot: async ({ instance, name }, call) => {
        const record = this.#named(instance);
        state.snapshot(this.tools.reader, record.id, name);
        return this.#operation('Deleting snapshot', record, call, () => this.snapshots.remove(record, name, call));
      },

      listLogs: async (instance) => ({ names: await this.#logs.list(this.#named(instance)) }),
      readLog: ({ instance, path }, call) => {
        const record = this.#named(instance);
        return path === '' ? this.#logs.readConsole(record, call) : this.#logs.read(record, path);
      },
      deleteLog: async ({ instance, path }, call) => {
        const record = this.#named(instance);
        await (path === '' ? this.#logs.clearConsole(record, call) : this.#logs.remove(record, path));
        return nothing;
      },

      readMetadata: async (instance) => ({ metadata: await this.metadata.read(this.#named(instance)) }),
      writeMetadata: async ({ instance, metadata, ifMatch }, call) => {
        await this.metadata.write(this.#named(instance), metadata ?? {}, call, ifMatch || undefined);
        return nothing;
      },
      listTemplates: async (instance) => ({ names: await this.metadata.templates(this.#named(instance)) }),
      readTemplate: ({ instance, path }, call): Promise<FileReply> => this.metadata.readTemplate(this.#named(instance), path, call),
      writeTemplate: async (request, call) => {
        await this.metadata.writeTemplate(this.#named(request.instance), request.path, this.#body(request), call);
        return nothing;
      },
      deleteTemplate: async ({ instance, path }, call) => {
        await this.metadata.removeTemplate(this.#named(instance), path, call);
        return nothing;
      },
    };
  }

  /** @throws Fault notFound */
  #named(message: InstanceMessage | undefined): InstanceRecord {
    if (!message) throw fault.invalid('No instance given');
    return this.tools.named(message.project, message.name);
  }

  #body({ ticket }: Pick<WriteFileRequest, 'ticket'>): Readable {
    return this.tools.context.members.streams.open(ticket);
  }

  #connection(ticket: string): Duplex {
    const stream = this.tools.context.members.streams.open(ticket);
    if (!('write' in stream)) throw fault.invalid('Not a connection');
    return stream;
  }

  #operation(
    description: string,
    record: InstanceRecord,
    context: CallContext,
    work: (progress: (text: string) => void) => Promise<void>,
  ): { operation: Operation } {
    const operation = this.ports.operations.start({
      description,
      project: record.project,
      resources: { instances: [state.instanceUrl(record.project, record.name)] },
      context,
      run: (running) => work((text) => running.progress('container', text)),
    });
    return { operation };
  }

  #create(project: string, post: CreatePost, call: CallContext): Operation {
    const { source } = post;
    const url = state.instanceUrl(project, post.name);
    return this.ports.operations.start({
      description: 'Creating instance',
      project,
      resources: { instances: [url] },
      context: call,
      mayCancel: false,
      run: async (operation) => {
        const settled = {
          ...post,
          ...(await this.#source(project, post, source, call, operation.signal, (text) => operation.progress('download', text))),
        };
        await this.lifecycle.create({ ...settled, project, template: 'create' }, call, operation.signal);
      },
    });
  }

  /** What the volume begins with, and what the image says of the instance. */
  async #source(
    project: string,
    post: CreatePost,
    source: InstanceSource,
    call: CallContext,
    signal: AbortSignal,
    onProgress: (text: string) => void,
  ): Promise<{ source: VolumeSource; config: Record<string, string>; architecture: string; profiles: readonly string[] }> {
    const architecture = post.architecture || hostArchitecture;
    const profiles = post.profiles ?? ['default'];
    if (source.type !== 'image') return { source: { kind: 'empty' }, config: post.config, architecture, profiles };
    const images = effectiveProject(this.tools.reader, project, 'features.images');
    const fingerprint = source.server ? await this.#fetch(images, project, post, source, call, signal, onProgress) : (source.fingerprint ?? '');
    const image = findImage(this.tools.reader, images, fingerprint);
    if (!image) throw fault.notFound('Image not found');
    const properties = Object.fromEntries(Object.entries(image.properties).map(([key, value]) => [`image.${key}`, value]));
    const fill = (path: string, filling: AbortSignal): Promise<void> => this.ports.images.fill(fingerprint, path, { signal: filling });
    return {
      source: { kind: 'fill', cacheKey: fingerprint, fill },
      config: { ...properties, ...post.config, 'volatile.base_image': fingerprint },
      architecture: image.architecture || architecture,
      profiles,
    };
  }

  async #fetch(
    images: string,
    project: string,
    post: CreatePost,
    source: InstanceSource,
    call: CallContext,
    signal: AbortSignal,
    onProgress: (text: string) => void,
  ): Promise<string> {
    const { config } = projectOf(this.tools.reader, project);
    const setting = (key: string): string => config[key] || serverValue(this.tools.reader, key);
    const remote = {
      server: source.server!,
      protocol: source.protocol ?? '',
      certificate: source.certificate ?? '',
      secret: source.secret ?? '',
      name: source.alias || source.fingerprint || '',
      imageType: post.type,
      project: source.project ?? '',
    };
    return this.ports.images.fetch(remote, {
      project: images,
      autoUpdate: isTrue(setting('images.auto_update_cached'), true),
      preferCached: Number(setting('images.auto_update_interval')) > 0,
      public: false,
      cached: true,
      signal,
      onProgress,
      context: call,
    });
  }

  async #update(record: InstanceRecord, put: InstancePut, call: CallContext, ifMatch: string): Promise<void> {
    const { architecture, description, ephemeral, config, devices, profiles } = put;
    await this.lifecycle.update(record, { architecture, description, ephemeral, config, devices, profiles }, call, {
      ifMatch: ifMatch || undefined,
      byUser: true,
    });
  }

  async #act(
    record: InstanceRecord,
    { action, timeout, force, stateful }: StatePut,
    call: CallContext,
    progress?: (text: string) => void,
  ): Promise<void> {
    if (stateful) throw fault.unsupported('Stateful start and stop are not supported');
    const options = { force, timeoutMs: timeout < 0 ? -1 : timeout * 1000 };
    switch (action) {
      case 'start':
        return this.power.start(record, call, { progress });
      case 'stop':
        return this.power.stop(record, call, options);
      case 'restart':
        return this.power.restart(record, call, options);
      case 'freeze':
        return this.power.freeze(record, call);
      case 'unfreeze':
        return this.power.unfreeze(record, call);
    }
  }

  async #actOnAll(project: string, put: StatePut, call: CallContext): Promise<{ operation: Operation }> {
    const suitable: InstanceRecord[] = [];
    for (const record of state.instances(this.tools.reader, { projects: [project], memberId: this.tools.context.server.memberId })) {
      const { state: power } = await this.power.power(record);
      const fits = {
        start: !isRunning(power),
        stop: isRunning(power),
        restart: isRunning(power),
        freeze: power === 'running',
        unfreeze: power === 'frozen',
      };
      if (fits[put.action]) suitable.push(record);
    }
    const operation = this.ports.operations.start({
      description: actionDescriptions[put.action],
      project,
      resources: { instances: suitable.map((record) => state.instanceUrl(project, record.name)) },
      context: call,
      run: async () => {
        const failures: string[] = [];
        await Promise.all(
          suitable.map((record) =>
            this.#act(record, put, call).catch((error: unknown) => failures.push(` - Instance: ${record.name}: ${Fault.from(error).message}`)),
          ),
        );
        if (failures.length > 0) throw fault.internal(`The following instances failed to update state:\n${failures.sort().join('\n')}`);
      },
    });
    return { operation };
  }

  async #statesOf(ids: readonly number[]): Promise<Record<number, InstanceState>> {
    const states: Record<number, InstanceState> = {};
    const records = state.instances(this.tools.reader, { ids, memberId: this.tools.context.server.memberId });
    const all = Promise.all(
      records.map(async (record) => {
        try {
          states[record.id] = await this.states.of(record);
        } catch (error) {
          this.tools.log.debug({ err: error, instance: record.name }, 'could not tell the state of an instance');
        }
      }),
    );
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([all, new Promise((resolve) => (timer = setTimeout(resolve, stateDeadlineMs)))]);
    clearTimeout(timer);
    return { ...states };
  }

  /** @throws Fault that names the instances that could not follow */
  async #profileChanged(
    project: string,
    name: string,
    before: { config: Record<string, string>; devices: Record<string, Record<string, string>> },
    call: CallContext,
  ): Promise<void> {
    const { reader, context } = this.tools;
    const failures: string[] = [];
    for (const record of state.instances(reader, { ids: state.instancesOfProfile(reader, project, name), memberId: context.server.memberId })) {
      const now = profilesNamed(reader, project, record.profiles);
      const profiles = now.map((profile) => (profile.name === name ? { ...profile, ...before } : profile));
      const was = expand(profiles, record.config, record.devices);
      try {
        state.checkWanted(reader, { ...record, profiles: now }, 'update');
        await this.lifecycle.followProfile({ ...record, expandedConfig: was.config, expandedDevices: was.devices }, record, call);
      } catch (error) {
        failures.push(` - Project: ${record.project}, Instance: ${record.name}: ${Fault.from(error).message}`);
      }
    }
    if (failures.length > 0) throw fault.internal(`The following instances failed to update (profile change still saved):\n${failures.join('\n')}`);
  }

  async #expireSnapshots(): Promise<void> {
    const { reader, context, log } = this.tools;
    for (const { project, instance, snapshot } of state.expiredSnapshots(reader, context.server.memberId, context.clock.now())) {
      try {
        await this.snapshots.remove(this.tools.named(project, instance), snapshot, {
          identity: { protocol: 'internal', username: '', address: '' },
          requestId: '',
        });
      } catch (error) {
        log.warn({ err: error, instance, project, snapshot }, 'could not remove an expired snapshot');
      }
    }
  }
}

/** InstancesPost as the gateway settles it. */
type CreatePost = Omit<InstancesPost, 'profiles'> & { profiles?: string[] };

const hostArchitecture = process.arch === 'arm64' ? 'aarch64' : 'x86_64';

function statePut(put: Record<string, unknown> | undefined): StatePut {
  const action = String(put?.action ?? '');
  if (!isAction(action)) throw fault.invalid(`Unknown action: '${action}'`);
  return { action, timeout: Number(put?.timeout ?? -1), force: put?.force === true, stateful: put?.stateful === true };
}

function execPost(exec: Record<string, unknown>): ExecPost {
  return {
    command: (exec.command ?? []) as string[],
    waitForWebsocket: exec['wait-for-websocket'] === true,
    interactive: exec.interactive === true,
    environment: (exec.environment ?? {}) as Record<string, string>,
    width: Number(exec.width ?? 0),
    height: Number(exec.height ?? 0),
    recordOutput: exec['record-output'] === true,
    user: Number(exec.user ?? 0),
    group: Number(exec.group ?? 0),
    cwd: String(exec.cwd ?? ''),
  };
}
