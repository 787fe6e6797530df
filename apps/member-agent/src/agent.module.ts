import { type DynamicModule, Module, type Provider } from '@nestjs/common';
import { isTrue } from '#config-keys';
import type { EventHub } from '#events/host';
import type { HostContext } from '#members';
import { Devices, randomMac } from '#devices/host';
import { ImageAgent, type ImageCopies } from '#images/host';
import { InstancesAgent } from '#instances/host';
import { NetworksAgent } from '#networks/host';
import { MemberOperations } from '#operations/host';
import { ServerHost } from '#server/host';
import { StorageAgent } from '#storage/host';
import { TransferAgent } from '#transfer/host';
import { MemberWarnings } from '#warnings/host';
import { autostartWarning } from './autostart-warning.js';
import { storageEnvironment } from './environment.js';
import { settingOf } from './settings.js';
import { COPIES, HOST, HUB } from './tokens.js';

/**
 * The host wings of this member, each made from what it names. A higher subject injects the lower ones it stands on, and so is made after them; when
 * each is started stands in app.ts.
 */
const wings: Provider[] = [
  {
    provide: MemberWarnings,
    inject: [HOST],
    useFactory: ({ replica, clock, log, server }: HostContext) => new MemberWarnings({ replica, clock, log, member: () => server.memberName() }),
  },
  {
    provide: MemberOperations,
    inject: [HOST, HUB],
    useFactory: ({ local, clock, log, server }: HostContext, events: EventHub) =>
      new MemberOperations({ local, events, clock, log, memberId: () => server.memberId, location: () => server.memberName() }),
  },
  {
    provide: NetworksAgent,
    inject: [HOST, MemberWarnings],
    useFactory: (context: HostContext, warnings: MemberWarnings) => new NetworksAgent(context, { warnings }),
  },
  {
    provide: StorageAgent,
    inject: [HOST, MemberOperations, MemberWarnings],
    useFactory: (context: HostContext, operations: MemberOperations, warnings: MemberWarnings) => new StorageAgent({ context, operations, warnings }),
  },
  {
    provide: ImageAgent,
    inject: [HOST, MemberOperations, StorageAgent, COPIES],
    useFactory: (context: HostContext, operations: MemberOperations, { storage }: StorageAgent, copies?: ImageCopies) =>
      new ImageAgent({
        context,
        operations,
        storage,
        ...(copies ? { copies } : {}),
        setting: (key, project) => settingOf(context.replica.reader, key, project),
      }),
  },
  {
    provide: Devices,
    inject: [HOST, NetworksAgent, StorageAgent],
    useFactory: (context: HostContext, networks: NetworksAgent, { storage }: StorageAgent) => new Devices(context, { networks, storage }),
  },
  {
    provide: InstancesAgent,
    inject: [HOST, HUB, MemberOperations, MemberWarnings, StorageAgent, ImageAgent, Devices],
    useFactory: (
      context: HostContext,
      events: EventHub,
      operations: MemberOperations,
      warnings: MemberWarnings,
      { storage }: StorageAgent,
      { images }: ImageAgent,
      devices: Devices,
    ) =>
      new InstancesAgent({
        context,
        storage,
        images,
        devices,
        operations,
        events,
        randomMac,
        unprivilegedOnly: isTrue(process.env.LXD_UNPRIVILEGED_ONLY),
        autostartFailed: autostartWarning(warnings),
      }),
  },
  {
    provide: TransferAgent,
    inject: [HOST, MemberOperations, StorageAgent, InstancesAgent],
    useFactory: (context: HostContext, operations: MemberOperations, storage: StorageAgent, instances: InstancesAgent) =>
      new TransferAgent({
        context,
        operations,
        storage: storage.storage,
        instances,
        followVolumes: (listener) => storage.follow(listener),
        setting: (key, project) => settingOf(context.replica.reader, key, project),
      }),
  },
  {
    provide: ServerHost,
    inject: [HOST, StorageAgent, InstancesAgent],
    useFactory: (context: HostContext, { daemonVolumes }: StorageAgent, instances: InstancesAgent) =>
      new ServerHost(context, {
        environment: [storageEnvironment(context.members, context.replica.reader, context.clock)],
        metrics: [instances.metrics()],
        configFollower: (before, after) => daemonVolumes.follow(before, after),
      }),
  },
];

@Module({})
export class AgentModule {
  static of(context: HostContext, events: EventHub, copies?: ImageCopies): DynamicModule {
    return {
      module: AgentModule,
      providers: [{ provide: HOST, useValue: context }, { provide: HUB, useValue: events }, { provide: COPIES, useValue: copies }, ...wings],
    };
  }
}
