import { NestFactory } from '@nestjs/core';
import { type EventHub, publishApplied } from '#events/host';
import { ClusterHost, type ClusterParts } from '#cluster/host';
import type { HostContext, Running } from '#members';
import { ImageAgent } from '#images/host';
import { InstancesAgent } from '#instances/host';
import { NetworksAgent } from '#networks/host';
import { MemberOperations, type Operations, serveOperations } from '#operations/host';
import { ServerHost } from '#server/host';
import { StorageAgent } from '#storage/host';
import { TransferAgent } from '#transfer/host';
import { MemberWarnings, type Warnings } from '#warnings/host';
import { AgentModule } from './agent.module.js';
import { clusterHooks } from './cluster-hooks.js';
import { imageCopies } from './image-copies.js';
import { Steps } from './steps.js';

export { schema } from './schema.js';

export interface AgentContext extends HostContext {
  /** The hub of this process. */
  events: EventHub;
  /** Absent: this process knows nothing of clusters. */
  cluster?: Pick<ClusterParts, 'replica' | 'membership' | 'identity' | 'store' | 'listeners'>;
}

export interface RunningAgent extends Running {
  readonly operations: Operations;
  readonly warnings: Warnings;
  readonly server: ServerHost;
  readonly cluster: ClusterHost | undefined;
  /** Starts what should run, once everything listens. Never throws: a failure is a warning. */
  autostart(): Promise<void>;
  /** `host`: the machine goes down, so what runs on this member is stopped too. Without it a restart of the daemon stops no instance and no network. */
  stop(options?: { host?: boolean; operationsMs?: number }): Promise<void>;
}

/** What a join's first question may take on its way, beside the second that clocks may differ. */
const joinSlackMs = 1_000;

/** How long a stopping daemon waits for operations that cannot be cancelled, unless it is told. */
const operationsMsDefault = 10_000;

/**
 * Brings up this member: makes its host wings, and starts them in the order of their floors: a subject looks at the machine when those below it are
 * right. What is started last is stopped first. If one cannot be started, the others are stopped again.
 */
export async function startAgent(context: AgentContext): Promise<RunningAgent> {
  const log = context.log.child({ service: 'member-agent' });
  const copies = context.cluster && imageCopies(context, context.cluster.identity, context.cluster.membership);
  const app = await NestFactory.createApplicationContext(AgentModule.of(context, context.events, copies), { logger: false, abortOnError: false });
  const steps = new Steps(log);
  let cluster: ClusterHost | undefined;
  let goesDown = false;
  let operationsMs = operationsMsDefault;

  const [warnings, operations, networks, storage, images, instances, transfers, server] = [
    app.get(MemberWarnings),
    app.get(MemberOperations),
    app.get(NetworksAgent),
    app.get(StorageAgent),
    app.get(ImageAgent),
    app.get(InstancesAgent),
    app.get(TransferAgent),
    app.get(ServerHost),
  ];
  try {
    steps.stopLast('Nest', () => app.close());
    steps.stopLast('warnings', () => warnings.settled());
    const applied = publishApplied(context.replica, context.events);
    steps.stopLast('lifecycle events', () => applied[Symbol.dispose]());
    serveOperations(context.members, operations);
    await steps.start('networks', networks, () => (goesDown ? networks.shutdown() : networks.release()));
    await steps.start('storage', storage, () => storage.stop({ unmount: goesDown }));
    await steps.start('images', images, () => images.stop());
    await steps.start('instances', instances, () => instances.stop({ host: goesDown }));
    images.usePublisher(transfers.publisher);
    await steps.start('transfers', transfers, () => transfers.stop());
    if (context.cluster) {
      const { cluster: given, events } = context;
      const hooks = clusterHooks(context, storage);
      cluster = new ClusterHost({ ...given, context, operations, events, config: server.config, hooks, joinSlackMs });
      await steps.start('cluster', cluster, () => cluster?.stop());
    }
    // Above all that operations work on: they end before it does.
    steps.stopLast('operations', () => operations.shutdown(operationsMs));
  } catch (error) {
    await steps.stop();
    throw error;
  }
  return {
    operations,
    warnings,
    server,
    cluster,
    autostart: () => instances.autostart(),
    async stop(options = {}) {
      goesDown = options.host ?? false;
      operationsMs = options.operationsMs ?? operationsMsDefault;
      await steps.stop();
    },
  };
}
