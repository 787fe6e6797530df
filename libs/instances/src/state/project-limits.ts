import { isTrue } from '#config-keys';
import { fault, parseSize } from '#kit';
import { checkProject, findProject, onProjectCheck, type Addition, type ProjectRecord } from '#projects/state';
import type { Reader } from '#replica/state';
import { onVolumeChange } from '#storage/state';
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

/** Sizes of the custom volumes; undefined of one that does not say. */
function volumeSizes(reader: Reader, project: string): { name: string; bytes: number | undefined }[] {
  return reader
    .all<{ name: string; config: string }>(`SELECT name, config FROM storage_volumes WHERE project = ? AND type = 'custom'`, project)
    .map(({ name, config }) => ({ name, bytes: sized((JSON.parse(config) as Record<string, string>).size) }));
}

onProjectCheck(checkProjectLimits);
onVolumeChange((ctx, { after }) => {
  if (after?.type === 'custom') checkProject(ctx.sql, after.project);
});

/**
 * Whether a project is within its limits. An image counts only when it comes: what instances and volumes leave of limits.disk must hold it, as in LXD.
 * @throws Fault invalid, in LXD's words
 */
function checkProjectLimits(reader: Reader, name: string, { imageBytes = 0 }: Addition): void {
  const config = findProject(reader, name)?.config ?? {};
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
  if (networkCount(reader, name) > (most('limits.networks') ?? Infinity))
    throw fault.invalid(`Reached maximum number of networks in project "${name}"`, { status: 500 });
  for (const key of limited.filter((one) => one in amounts)) checkSum(reader, name, key, config[key]!, all, key === 'limits.disk' ? imageBytes : 0);
}

function checkSum(reader: Reader, project: string, key: string, limit: string, all: readonly InstanceRecord[], more: number): void {
  let total = more;
  for (const { name, bytes } of key === 'limits.disk' ? volumeSizes(reader, project) : []) {
    if (bytes === undefined) throw fault.invalid(`Custom volume "${name}" in project "${project}" has no "size" config set`, { status: 500 });
    total += bytes;
  }
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
  const volumes = isTrue(project.config['features.storage.volumes']) ? volumeSizes(reader, project.name) : [];
  const usage = {
    containers: all.filter(({ type }) => type === 'container').length,
    cpu: sum('limits.cpu'),
    disk: volumes.reduce((total, { bytes }) => total + (bytes ?? 0), sum('limits.disk')),
    instances: all.length,
    memory: sum('limits.memory'),
    networks: networkCount(reader, project.name),
    processes: sum('limits.processes'),
    'virtual-machines': all.filter(({ type }) => type === 'virtual-machine').length,
  };
  return Object.fromEntries(Object.entries(usage).map(([key, Usage]) => [key, { Limit: limit(`limits.${key}`), Usage }]));
}

const networkCount = (reader: Reader, project: string): number =>
  reader.get<{ n: number }>('SELECT COUNT(*) AS n FROM networks WHERE project = ?', project)?.n ?? 0;

function quiet<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch {
    return undefined;
  }
}
