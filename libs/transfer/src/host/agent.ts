import type { Readable } from 'node:stream';
import { apiUrl, type DevicesMap, type Operation } from '#api-contract';
import { instance, instanceUrl, type InstanceRecord, rootVolume, snapshots } from '#instances/state';
import type { InstancesAgent } from '#instances/host';
import { isRunning } from '#instances/model';
import type { InstancePublisher } from '#images/host';
import { parseCompression } from '#images/model';
import { fault, Fault } from '#kit';
import {
  type BackupOwner,
  type CallContext,
  type Calls,
  type HostContext,
  type MigrationTarget,
  TransferAgentService,
  type VolumeMessage,
} from '#members';
import type { Operations, RunningOperation } from '#operations/host';
import { internalIdentity, type Reader } from '#replica/state';
import type { StorageHost, VolumeRef } from '#storage/host';
import { pool as poolNamed, volume as volumeNamed, volumeUrl } from '#storage/state';
import { checkBackupName, nextBackupName } from '../model/index.js';
import * as state from '../state/index.js';
import { instanceConfig, volumeConfig } from './backup-config.js';
import { BackupFiles } from './backup-files.js';
import { type BackedUp, Backups } from './backups.js';
import { InstanceCopies } from './copies.js';
import { Importer, openBackup, type OpenedBackup } from './importer.js';
import { InstanceMigrations } from './instance-migrations.js';
import { TransferIntents } from './intents.js';
import type { OperationAddress } from './migration/dial.js';
import { InstanceMoves } from './moves.js';
import { Publisher } from './publisher.js';
import { recoverTransfers } from './recovery.js';
import { VolumeMigrations } from './volume-migrations.js';
import { VolumeReceiver } from './volume-receiver.js';

const expireEveryMs = 60_000;
const internal: CallContext = { identity: internalIdentity, requestId: '' };

export interface TransferAgentOptions {
  context: HostContext;
  operations: Operations;
  storage: StorageHost;
  instances: InstancesAgent;
  /** Custom volumes were renamed or removed on request. */
  followVolumes: (listener: () => Promise<void>) => void;
  /** Keys of the server and of projects as they are now: backups.compression_algorithm. */
  setting: (key: string, project: string) => string;
}

/** What moves instances and volumes of this member: started after instances. */
export class TransferAgent {
  /** For images. */
  readonly publisher: InstancePublisher;
  readonly #options: TransferAgentOptions;
  readonly #intents: TransferIntents;
  readonly #files: BackupFiles;
  readonly #backups: Backups;
  readonly #importer: Importer;
  readonly #copies: InstanceCopies;
  readonly #moves: InstanceMoves;
  readonly #migrations: InstanceMigrations;
  readonly #volumes: VolumeMigrations;
  #watching?: Disposable;
  #expiry?: NodeJS.Timeout;

  constructor(options: TransferAgentOptions) {
    const { context, operations, storage, instances } = options;
    this.#options = options;
    this.#intents = new TransferIntents(context.local);
    this.#files = new BackupFiles(`${context.server.stateDir}/backups`);
    this.#backups = new Backups(context, storage, this.#files, this.#intents);
    const receiver = new VolumeReceiver(context, storage, this.#intents);
    this.#importer = new Importer(context, storage, instances, receiver);
    this.#copies = new InstanceCopies(context, storage, instances, this.#intents);
    this.#moves = new InstanceMoves(context, storage, instances, this.#intents);
    this.#migrations = new InstanceMigrations(context, storage, instances, operations, this.#intents);
    this.#volumes = new VolumeMigrations(context, storage, operations, receiver, this.#intents);
    this.publisher = new Publisher(context, storage, instances, this.#files);
  }

  /** Settles what was cut off, and answers from then on. */
  async start(): Promise<void> {
    const { context, storage } = this.#options;
    await recoverTransfers(context, storage, this.#intents);
    await this.#backups.settle(internal);
    context.members.serve(TransferAgentService, this.#calls());
    this.#options.followVolumes(() => this.#follow());
    this.#watching = context.replica.watch(({ commands, touched }) => {
      const actions = commands.flatMap(({ lifecycle }) => lifecycle.map(({ action }) => action));
      if (touched === 'everything' || actions.some((action) => /^(instance|storage-volume)-(renamed|deleted)$/.test(action))) void this.#follow();
    });
    this.#expiry = setInterval(() => void this.#backups.expire(internal), expireEveryMs);
    this.#expiry.unref();
  }

  stop(): void {
    clearInterval(this.#expiry);
    this.#watching?.[Symbol.dispose]();
  }

  /** Backups go where their instance or volume goes. */
  async #follow(): Promise<void> {
    try {
      await this.#backups.follow();
    } catch (error) {
      this.#options.context.log.warn({ err: error }, 'could not tidy the backups');
    }
  }

  #calls(): Calls<typeof TransferAgentService> {
    return {
      createBackup: async ({ owner, name: wanted, expiresAt, only, optimized, compression }, call) => {
        const of = await this.#backedUp(owner);
        const taken = state.backups(this.#reader, of.kind, of.ownerId).map((backup) => backup.name);
        const name = wanted || nextBackupName(taken);
        checkBackupName(name);
        const algorithm = compression || this.#compression(owner!.project, of.kind);
        parseCompression(algorithm);
        const request = { name, expiresAt, only, optimized, compression: algorithm };
        const description = of.kind === 'instance' ? 'Backing up instance' : 'Creating custom volume backup';
        return this.#operation(description, owner!.requestProject, this.#resources(owner!, name), call, async (operation) => {
          try {
            await this.#backups.create(of, request, operation, call);
          } catch (error) {
            if (of.kind === 'instance') throw prefixed('Create backup', error);
            throw error;
          }
        });
      },
      renameBackup: async ({ owner, name, newName }, call) => {
        checkBackupName(newName);
        const of = this.#owner(owner);
        state.backup(this.#reader, of.kind, of.ownerId, name);
        const description = of.kind === 'instance' ? 'Renaming instance backup' : 'Renaming custom volume backup';
        return this.#operation(description, owner!.requestProject, this.#resources(owner!), call, () =>
          this.#backups.rename(of, name, newName, call),
        );
      },
      deleteBackup: async ({ owner, name }, call) => {
        const of = this.#owner(owner);
        state.backup(this.#reader, of.kind, of.ownerId, name);
        const description = of.kind === 'instance' ? 'Removing instance backup' : 'Deleting custom volume backup';
        return this.#operation(description, owner!.requestProject, this.#resources(owner!), call, () => this.#backups.remove(of, name, call));
      },
      exportBackup: async ({ owner, name }) => {
        const of = this.#owner(owner);
        const { id } = state.backup(this.#reader, of.kind, of.ownerId, name);
        const { stream, size, modified } = await this.#files.read(of.kind, id);
        return { ticket: this.#options.context.members.streams.offer(stream), size, modifiedMs: modified.getTime() };
      },

      importInstance: ({ project, ticket, pool, name: wanted }, call) =>
        this.#import(
          ticket,
          async (backup) => {
            const place = this.#importer.poolFor(project, backup, pool);
            const name = wanted || backup.index.name;
            const resources = { instances: [instanceUrl(project, name)] };
            return {
              description: 'Restoring backup',
              project,
              resources,
              run: (operation) => this.#importer.importInstance(project, backup, { name, pool: place }, call, operation.signal),
            };
          },
          call,
        ),
      importVolume: ({ volume, ticket, requestProject }, call) =>
        this.#import(
          ticket,
          async (backup) => {
            const ref = { ...refOf(volume), name: volume!.name || backup.index.name };
            const resources = { storage_volumes: [volumeUrl(ref)] };
            return {
              description: 'Restoring custom volume backup',
              project: requestProject,
              resources,
              run: (operation) => this.#importer.importVolume(backup, ref, call, operation.signal),
            };
          },
          call,
        ),

      transferInstance: async ({ project, post }, call) => {
        const wanted = post as unknown as InstancePost;
        const { source } = wanted;
        return source.type === 'copy' ? this.#copy(project, wanted, call) : { operation: await this.#receive(project, wanted, call) };
      },
      moveInstance: async ({ project, name, newName, pool, newProject, instanceOnly }, call) => {
        const record = this.#options.instances.tools.named(project, name);
        const request = { newName: newName || name, pool, project: newProject, instanceOnly };
        return this.#operation('Migrating instance', project, { instances: [instanceUrl(project, name)] }, call, (operation) =>
          this.#moves.move(record, request, call, operation.signal),
        );
      },
      sendInstance: async ({ project, name, target, ...request }, call) => {
        const record = this.#options.instances.tools.named(project, name);
        return { operation: await this.#migrations.send(record, { ...request, target: addressOf(target) }, call) };
      },
      receiveVolume: async ({ volume, source, hasConfig, config, ...request }, call) => ({
        operation: this.#volumes.receive(refOf(volume), { ...request, config: hasConfig ? config : undefined, source: addressOf(source) }, call),
      }),
      sendVolume: async ({ volume, volumeOnly, target, requestProject }, call) => ({
        operation: this.#volumes.send(volumeNamed(this.#reader, refOf(volume)), { volumeOnly, target: addressOf(target), requestProject }, call),
      }),
    };
  }

  #copy(project: string, post: InstancePost, call: CallContext): { operation: Operation } {
    const { source } = post;
    const [name = '', snapshot = ''] = source.source.split('/');
    const sourceProject = source.project || project;
    // Missing things are told at once, not by the operation.
    const from = instance(this.#reader, sourceProject, name);
    if (snapshot !== '' && !snapshots(this.#reader, from.id).some((one) => one.name === snapshot))
      throw fault.notFound('Instance snapshot not found');
    const { type, description, ephemeral, config, devices, profiles } = post;
    const request = {
      project,
      name: post.name,
      type,
      description,
      ephemeral,
      config,
      devices,
      profiles,
      sourceProject,
      source: name,
      snapshot,
      instanceOnly: source.instance_only || source.container_only,
      refresh: source.refresh,
      allowInconsistent: source.allow_inconsistent,
    };
    const resources = { instances: [instanceUrl(project, post.name), instanceUrl(sourceProject, name)] };
    return this.#operation('Creating instance', project, resources, call, (operation) => this.#copies.copy(request, call, operation.signal));
  }

  #receive(project: string, post: InstancePost, call: CallContext): Promise<Operation> {
    const { source, name, architecture, description, ephemeral, config, devices } = post;
    if (source.mode !== 'pull' && source.mode !== 'push') throw fault.unsupported(`Mode "${source.mode}" not implemented`, { status: 501 });
    return this.#migrations.receive(
      {
        project,
        name,
        architecture,
        description,
        ephemeral,
        config,
        devices,
        profiles: post.profiles ?? ['default'],
        baseImage: source['base-image'],
        live: source.live,
        instanceOnly: source.instance_only || source.container_only,
        refresh: source.refresh,
        source: source.mode === 'pull' ? { url: source.operation, certificate: source.certificate, secrets: source.secrets } : undefined,
      },
      call,
    );
  }

  /** Takes the body before it answers, so that a client that goes away meanwhile leaves nothing. */
  async #import(
    ticket: string,
    prepare: (backup: OpenedBackup) => Promise<{
      description: string;
      project: string;
      resources: Record<string, string[]>;
      run: (operation: RunningOperation) => Promise<void>;
    }>,
    call: CallContext,
  ): Promise<{ operation: Operation }> {
    const received = await this.#files.receive(this.#options.context.members.streams.open(ticket) as Readable);
    try {
      const { run, ...about } = await prepare(await openBackup(received.path));
      return this.#operation(about.description, about.project, about.resources, call, async (operation) => {
        await using _ = received;
        await run(operation);
      });
    } catch (error) {
      await received[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** @throws Fault notFound */
  #owner(owner: BackupOwner | undefined): Pick<BackedUp, 'kind' | 'ownerId'> {
    if (!owner) throw fault.invalid('No owner given');
    if (owner.instance !== '') return { kind: 'instance', ownerId: this.#options.instances.tools.named(owner.project, owner.instance).id };
    return { kind: 'volume', ownerId: volumeNamed(this.#reader, refOf(owner.volume)).id };
  }

  async #backedUp(owner: BackupOwner | undefined): Promise<BackedUp> {
    const { kind, ownerId } = this.#owner(owner);
    if (kind === 'instance') return this.#ofInstance(this.#options.instances.tools.named(owner!.project, owner!.instance));
    const record = volumeNamed(this.#reader, refOf(owner!.volume));
    if (record.contentType !== 'filesystem')
      throw fault.unsupported(`Volumes of content type "${record.contentType}" cannot be backed up`, { status: 400 });
    return {
      kind,
      ownerId,
      type: 'custom',
      name: record.name,
      volume: record,
      backend: poolNamed(this.#reader, record.pool).driver,
      config: (only) => volumeConfig(this.#reader, record, this.#location, only),
      idmap: () => '',
      running: this.#options.storage.isMounted(record),
    };
  }

  async #ofInstance(record: InstanceRecord): Promise<BackedUp> {
    const { reader } = this.#options.context.replica;
    const volume = rootVolume(record);
    return {
      kind: 'instance',
      ownerId: record.id,
      type: record.type,
      name: record.name,
      volume,
      backend: poolNamed(reader, volume.pool).driver,
      config: (only) => instanceConfig(reader, record, this.#location, only),
      idmap: (snapshot) => {
        const of = snapshot === undefined ? record : snapshots(reader, record.id).find(({ name }) => name === snapshot);
        return of?.config['volatile.last_state.idmap'] ?? '';
      },
      running: isRunning((await this.#options.instances.power.power(record)).state),
    };
  }

  #compression(project: string, kind: state.BackupKind): string {
    // LXD asks the project for instances only.
    return this.#options.setting('backups.compression_algorithm', kind === 'instance' ? project : 'default') || 'gzip';
  }

  #resources(owner: BackupOwner, backup?: string): Record<string, string[]> {
    const backups: Record<string, string[]> = backup === undefined ? {} : { backups: [apiUrl(['backups', backup])] };
    if (owner.instance !== '') return { ...backups, instances: [instanceUrl(owner.project, owner.instance)] };
    return { ...backups, storage_volumes: [apiUrl(['storage_volumes', owner.volume!.name])] };
  }

  #operation(
    description: string,
    project: string,
    resources: Record<string, string[]>,
    context: CallContext,
    run: (operation: RunningOperation) => Promise<void>,
  ): { operation: Operation } {
    return { operation: this.#options.operations.start({ description, project, resources, context, mayCancel: false, run }) };
  }

  get #location(): string {
    return this.#options.context.server.memberName();
  }

  get #reader(): Reader {
    return this.#options.context.replica.reader;
  }
}

/** InstancesPost as the gateway settles it, for copies and migrations. */
interface InstancePost {
  name: string;
  type: 'container' | 'virtual-machine';
  architecture: string;
  description: string;
  ephemeral: boolean;
  config: Record<string, string>;
  devices: DevicesMap;
  profiles?: string[];
  source: {
    type: string;
    mode: string;
    operation: string;
    certificate: string;
    secrets: Record<string, string>;
    source: string;
    project: string;
    'base-image': string;
    live: boolean;
    instance_only: boolean;
    container_only: boolean;
    refresh: boolean;
    allow_inconsistent: boolean;
  };
}

function refOf(message: VolumeMessage | undefined): VolumeRef {
  if (!message) throw fault.invalid('No volume given');
  const { pool, project, name } = message;
  return { pool, project, name, type: 'custom' };
}

const addressOf = (target: MigrationTarget | undefined): OperationAddress | undefined =>
  target && { url: target.operation, certificate: target.certificate, secrets: target.secrets };

function prefixed(words: string, error: unknown): Fault {
  const { kind, message, detail } = Fault.from(error);
  return new Fault(kind, `${words}: ${message}`, { cause: error, detail });
}
