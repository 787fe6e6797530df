import { isTrue } from '#config-keys';
import { fault, parseSize } from '#kit';
import { project as projectOf, type ProjectRecord } from '#projects/state';
import type { Reader } from '#replica/state';
import { isRootDisk } from '../model/index.js';
import { instances, type InstanceRecord } from './queries.js';

/** Amount of a limit that an instance takes; undefined when it does not say. Throws Fault invalid for a value that cannot be added up. */
const amounts: Record<string, (record: InstanceRecord) => number | undefined> = {
  'limits.memory': ({ expandedConfig }) => sized(expandedConfig['limits.memory']),
  'limits.processes': ({ expandedConfig }) => counted(expandedConfig['limits.processes']),
  'limits.cpu': ({ expandedConfig }) => {
    const value = expandedConfig['limits.cpu'];
    if (!value) return undefined;
    if (!/^\d+$/.test(value)) throw fault.invalid('CPUs can be limited by their number only');
    return Number(value);
  },
  'limits.disk': ({ expandedDevices }) => sized(Object.values(expandedDevices).find(isRootDisk)?.size),
};

function sized(value: string | undefined): number | undefined {
  if (!value) return undefined;
  if (value.endsWith('%')) throw fault.invalid("Value can't be a percentage");
  return parseSize(value);
}

const counted = (value: string | undefined): number | undefined => (value ? Number(value) : undefined);

/** What else counts towards limits.disk: custom volumes, images. */
function volumeBytes(reader: Reader, project: string): number {
  const volumes = reader.all<{ config: string }>(`SELECT config FROM storage_volumes WHERE project = ? AND type = 'custom'`, project);
  const images = reader.get<{ bytes: number | null }>('SELECT SUM(size) AS bytes FROM images WHERE project = ?', project);
  return volumes.reduce((sum, { config }) => sum + (sized((JSON.parse(config) as Record<string, string>).size) ?? 0), images?.bytes ?? 0);
}

/**
 * Whether a project is within its limits; asked inside the command that changes it, after the change, so that no two can pass together.
 * @throws Fault conflict, in LXD's words
 */
export function checkProjectLimits(reader: Reader, name: string): void {
  const { config } = projectOf(reader, name);
  const limited = Object.keys(config).filter((key) => key.startsWith('limits.') && config[key] !== '');
  if (limited.length === 0) return;
  const all = instances(reader, { projects: [name] });
  const most = (key: string): number | undefined => (config[key] ? Number(config[key]) : undefined);
  if (all.length > (most('limits.instances') ?? Infinity))
    throw fault.invalid(`Reached maximum number of instances in project "${name}"`, { status: 500 });
  for (const [type, key] of [
    ['container', 'limits.containers'],
    ['virtual-machine', 'limits.virtual-machines'],
  ] as const) {
    if (all.filter((one) => one.type === type).length > (most(key) ?? Infinity)) {
      throw fault.invalid(`Reached maximum number of instances of type "${type}" in project "${name}"`, { status: 500 });
    }
  }
  for (const key of limited.filter((one) => one in amounts)) checkSum(reader, name, key, config[key]!, all);
}

function checkSum(reader: Reader, project: string, key: string, limit: string, all: readonly InstanceRecord[]): void {
  let total = key === 'limits.disk' ? volumeBytes(reader, project) : 0;
  for (const record of all) {
    const amount = amounts[key]!(record);
    if (amount === undefined) {
      const what = key === 'limits.disk' ? '"size" config set on the root device' : `"${key}" config,`;
      throw fault.invalid(`Instance "${record.name}" in project "${project}" has no ${what} either directly or via a profile`, { status: 500 });
    }
    total += amount;
  }
  if (total > parseSize(limit))
    throw fault.invalid(`Reached maximum aggregate value "${limit}" for "${key}" in project "${project}"`, { status: 500 });
}

/** LXD's names of what projects limit → limit (-1: none) and use. */
export function projectUsage(reader: Reader, project: ProjectRecord): Record<string, { Limit: number; Usage: number }> {
  const all = instances(reader, { projects: [project.name] });
  const sum = (key: string): number => all.reduce((total, record) => total + (quiet(() => amounts[key]!(record)) ?? 0), 0);
  const limit = (key: string): number => (project.config[key] ? parseSize(project.config[key]) : -1);
  const networks = reader.get<{ n: number }>('SELECT COUNT(*) AS n FROM networks WHERE project = ?', project.name)?.n ?? 0;
  const usage = {
    containers: all.filter(({ type }) => type === 'container').length,
    cpu: sum('limits.cpu'),
    disk: sum('limits.disk') + (isTrue(project.config['features.storage.volumes']) ? volumeBytes(reader, project.name) : 0),
    instances: all.length,
    memory: sum('limits.memory'),
    networks,
    processes: sum('limits.processes'),
    'virtual-machines': all.filter(({ type }) => type === 'virtual-machine').length,
  };
  return Object.fromEntries(Object.entries(usage).map(([key, Usage]) => [key, { Limit: limit(`limits.${key}`), Usage }]));
}

function quiet<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch {
    return undefined;
  }
}
