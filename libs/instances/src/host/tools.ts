import type { InstanceType } from '#api-contract';
import { publishLifecycle } from '#events/host';
import { fault, type Logger } from '#kit';
import type { CallContext, HostContext } from '#members';
import type { Reader } from '#replica/state';
import { instance, instanceById, instanceUrl, type InstanceRecord } from '../state/index.js';
import { ActionLocks } from './action-locks.js';
import type { InstanceDriver } from './driver.js';
import { Idmaps } from './idmaps.js';
import { InstancePaths } from './paths.js';
import type { InstanceHostPorts } from './ports.js';
import { InstanceWriter } from './writer.js';

/** What everything that works on this member's instances shares. */
export class InstanceTools {
  readonly context: HostContext;
  readonly log: Logger;
  readonly locks = new ActionLocks();
  readonly writer: InstanceWriter;
  readonly idmaps: Idmaps;
  readonly paths: InstancePaths;

  constructor(
    readonly ports: InstanceHostPorts,
    private readonly drivers: Partial<Record<InstanceType, InstanceDriver>>,
  ) {
    this.context = ports.context;
    this.log = ports.context.log;
    this.writer = new InstanceWriter(ports.context);
    this.idmaps = new Idmaps(ports.context);
    this.paths = new InstancePaths(ports.context);
  }

  get reader(): Reader {
    return this.context.replica.reader;
  }

  /** @throws Fault notFound; invalid when another member has it */
  named(project: string, name: string): InstanceRecord {
    const record = instance(this.reader, project, name);
    if (record.memberId !== this.context.server.memberId) throw fault.invalid('The instance is on another cluster member');
    return record;
  }

  /** As it is recorded now. @throws Fault notFound */
  again(record: Pick<InstanceRecord, 'id'>): InstanceRecord {
    const found = instanceById(this.reader, record.id);
    if (!found) throw fault.notFound('Instance not found');
    return found;
  }

  /** Tells of what changes no row. */
  tell(record: Pick<InstanceRecord, 'project' | 'name'>, action: string, by: CallContext, context?: Record<string, unknown>): void {
    publishLifecycle(this.ports.events, { action, source: instanceUrl(record.project, record.name), project: record.project, context }, by.identity);
  }

  /** @throws Fault unsupported */
  driver({ type }: Pick<InstanceRecord, 'type'>): InstanceDriver {
    const driver = this.drivers[type];
    if (!driver) throw fault.unsupported(`Instance type "${type}" is not supported on this server`, { status: 400 });
    return driver;
  }
}
