import { isTrue } from '#config-keys';
import { sweepNics } from '#devices/host';
import { findVolume } from '#storage/state';
import { isRunning, statusOf } from '../model/index.js';
import * as state from '../state/index.js';
import type { InstanceRecord } from '../state/index.js';
import type { InstanceIntent, InstanceIntents } from './intents.js';
import type { InstanceLifecycle } from './lifecycle.js';
import type { OwnedDevices } from './owned-devices.js';
import type { InstancePower } from './power.js';
import type { InstanceSnapshots } from './snapshots.js';
import type { InstanceTools } from './tools.js';
import { internalContext } from './writer.js';

interface Parts {
  tools: InstanceTools;
  intents: InstanceIntents;
  lifecycle: InstanceLifecycle;
  power: InstancePower;
  snapshots: InstanceSnapshots;
  devices: OwnedDevices;
}

/** At the start of the daemon: looks at what runs, takes it up again, and finishes or undoes what was cut off. */
export async function recoverInstances(parts: Parts): Promise<void> {
  const { tools, intents } = parts;
  const running = new Set<number>();
  for (const record of mine(tools)) {
    try {
      if (await takeUp(parts, record)) running.add(record.id);
    } catch (error) {
      running.add(record.id);
      tools.log.error({ err: error, instance: record.name, project: record.project }, 'could not look at an instance');
    }
  }
  await sweepNics(tools.context, running).catch((error: unknown) => tools.log.error({ err: error }, 'could not sweep what nics left'));
  for (const { number, intent } of intents.unfinished()) {
    try {
      await settle(parts, intent);
      intents.settle(number);
      tools.log.info({ intent }, 'settled work on an instance that was cut off');
    } catch (error) {
      // Kept for the next start: its pool may be away for now.
      tools.log.error({ err: error, intent }, 'could not settle work on an instance that was cut off');
    }
  }
}

const mine = (tools: InstanceTools): InstanceRecord[] => state.instances(tools.reader, { memberId: tools.context.server.memberId });

/** @returns whether it runs */
async function takeUp({ tools, power }: Parts, record: InstanceRecord): Promise<boolean> {
  const driver = tools.driver(record);
  const found = await driver.watch(tools.paths.key(record));
  if (isRunning(found.state)) {
    await power.adopt(record, found);
    return true;
  }
  if (record.status !== statusOf('stopped').status_code) {
    // It ended while nobody looked. That it ran is kept: boot.autostart goes by it.
    await power.foundStopped(record);
    if (record.ephemeral) await power.removeEphemeral(record);
  }
  return false;
}

async function settle(parts: Parts, intent: InstanceIntent): Promise<void> {
  const { tools, lifecycle, snapshots, devices } = parts;
  if (intent.kind === 'create') {
    const record = state.findInstance(tools.reader, intent.project, intent.name);
    if (record?.config['volatile.uuid'] === intent.uuid) await lifecycle.removeAll(record, internalContext, true);
    return;
  }
  const record = state.instanceById(tools.reader, intent.id);
  if (!record) return;
  switch (intent.kind) {
    case 'delete':
      return lifecycle.removeAll(record, internalContext);
    case 'rename': {
      const renamed = record.name === intent.newName;
      const other = { ...record, name: renamed ? intent.name : intent.newName };
      // Storage finishes its own half; what it had not begun is done now.
      if (!findVolume(tools.reader, state.rootVolume(other), record.memberId)) await tools.ports.storage.rename(state.rootVolume(other), record.name);
      return renamed ? lifecycle.renamed(other, record, internalContext) : devices.added(record);
    }
    case 'rename-snapshot': {
      const names: [string, string] = [intent.name, intent.newName];
      const [from, to] = state.findSnapshot(tools.reader, record.id, intent.newName) ? names : names.toReversed();
      return tools.ports.storage.renameSnapshot(state.rootVolume(record), from!, to!);
    }
    case 'snapshot':
      return snapshots.removeWhole(record, intent.snapshot, internalContext, true);
    case 'delete-snapshot':
      return snapshots.removeWhole(record, intent.snapshot, internalContext);
    case 'restore': {
      const snapshot = state.findSnapshot(tools.reader, record.id, intent.snapshot);
      if (!snapshot) return;
      await tools.ports.storage.restore(state.rootVolume(record), intent.snapshot);
      await snapshots.restoreRecord(record, snapshot, internalContext);
    }
  }
}

/** Starts what should run: what says so, and what ran when the daemon or the host went down; highest priority first. */
export async function autostart({ tools, power }: Pick<Parts, 'tools' | 'power'>): Promise<void> {
  const priority = ({ expandedConfig }: InstanceRecord): number => Number(expandedConfig['boot.autostart.priority'] || 0);
  const wanted = mine(tools)
    .filter(({ status, expandedConfig: config }) => {
      if (status !== statusOf('stopped').status_code) return false;
      const says = config['boot.autostart'] ?? '';
      return says === '' ? config['volatile.last_state.power'] === 'RUNNING' : isTrue(says);
    })
    .sort((a, b) => priority(b) - priority(a) || (a.name < b.name ? -1 : 1));
  for (const record of wanted) {
    try {
      await power.start(record, internalContext);
    } catch (error) {
      tools.log.warn({ err: error, instance: record.name, project: record.project }, 'could not start an instance');
      await tools.ports.autostartFailed?.(record.project, record.name, error);
    }
    const delayS = Number(record.expandedConfig['boot.autostart.delay'] || 0);
    if (delayS > 0) await new Promise((resolve) => setTimeout(resolve, delayS * 1000));
  }
}

/** Stops everything because the host goes down: by priority, those of one priority together, each in the time that it may take. */
export async function stopAll({ tools, power }: Pick<Parts, 'tools' | 'power'>): Promise<void> {
  const running: { record: InstanceRecord; priority: number }[] = [];
  for (const record of mine(tools)) {
    if (isRunning((await power.power(record)).state)) running.push({ record, priority: Number(record.expandedConfig['boot.stop.priority'] || 0) });
  }
  for (const priority of [...new Set(running.map((one) => one.priority))].sort((a, b) => b - a)) {
    await Promise.all(running.filter((one) => one.priority === priority).map(({ record }) => stopOne({ tools, power }, record)));
  }
}

async function stopOne({ tools, power }: Pick<Parts, 'tools' | 'power'>, record: InstanceRecord): Promise<void> {
  const timeoutMs = Number(record.expandedConfig['boot.host_shutdown_timeout'] || 30) * 1000;
  try {
    await power.stop(record, internalContext, { force: false, timeoutMs, lastPower: 'RUNNING' }).catch(() =>
      // It did not listen, or something else was at work on it.
      power.stop(record, internalContext, { force: true, timeoutMs: 0, lastPower: 'RUNNING' }),
    );
  } catch (error) {
    tools.log.error({ err: error, instance: record.name, project: record.project }, 'could not stop an instance');
  }
}
