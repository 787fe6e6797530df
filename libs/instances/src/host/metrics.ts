import { readFileSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { listMounts, mountOf, type CgroupStatistics } from '#host-kit';
import { effectiveProject } from '#projects/state';
import type { MetricsSource } from '#server/host';
import { liveDirectory, nameOnDisk, poolPath } from '#storage/model';
import { isRootDisk, isRunning, renderSamples, type MetricFamily, type Sample } from '../model/index.js';
import { instances, rootVolume, type InstanceRecord } from '../state/index.js';
import type { Usage } from './driver.js';
import type { InstanceStates } from './instance-state.js';
import type { InstanceTools } from './tools.js';

/** A sample before its instance is named. */
type Figure = [family: MetricFamily, value: number | undefined, labels?: Record<string, string>];

/** What the running instances of this member use, for GET /1.0/metrics. One that cannot be measured just now is left out. */
export function instanceMetrics(tools: InstanceTools, states: InstanceStates): MetricsSource {
  return async ({ projects }) => {
    const records = instances(tools.reader, { projects, memberId: tools.context.server.memberId });
    const samples = await Promise.all(
      records.map(async (record): Promise<Sample[]> => {
        try {
          return await samplesOf(tools, states, record);
        } catch (error) {
          tools.log.debug({ err: error, instance: record.name }, 'could not measure an instance');
          return [];
        }
      }),
    );
    return renderSamples(samples.flat());
  };
}

async function samplesOf(tools: InstanceTools, states: InstanceStates, record: InstanceRecord): Promise<Sample[]> {
  const driver = tools.driver(record);
  const key = tools.paths.key(record);
  const power = await driver.power(key);
  if (!isRunning(power.state)) return [];
  const [usage, statistics, network, disks] = await Promise.all([
    driver.usage(key),
    driver.statistics(key),
    states.network(record, power),
    fileSystems(tools, record),
  ]);
  const figures: Figure[] = [...memory(usage, statistics), ...processors(statistics), ...blockDevices(statistics), ...disks];
  for (const [device, { counters }] of Object.entries(network)) {
    const add = (family: MetricFamily, value: number): void => void figures.push([family, value, { device }]);
    add('network_receive_bytes_total', counters.bytes_received);
    add('network_receive_drop_total', counters.packets_dropped_inbound);
    add('network_receive_errs_total', counters.errors_received);
    add('network_receive_packets_total', counters.packets_received);
    add('network_transmit_bytes_total', counters.bytes_sent);
    add('network_transmit_drop_total', counters.packets_dropped_outbound);
    add('network_transmit_errs_total', counters.errors_sent);
    add('network_transmit_packets_total', counters.packets_sent);
  }
  figures.push(['procs_total', usage.processes]);
  const whose = { name: record.name, project: record.project, type: record.type };
  return figures.flatMap(([family, value, labels]) => (value === undefined ? [] : [{ family, value, labels: { ...labels, ...whose } }]));
}

function memory({ memoryBytes, memoryLimitBytes, swapBytes }: Usage, { memory: of }: CgroupStatistics): Figure[] {
  const total = Math.min(memoryLimitBytes ?? Infinity, totalmem());
  const sum = (a?: number, b?: number): number | undefined => (a === undefined || b === undefined ? undefined : a + b);
  return [
    ['memory_Active_anon_bytes', of.active_anon],
    ['memory_Active_file_bytes', of.active_file],
    ['memory_Active_bytes', sum(of.active_anon, of.active_file)],
    ['memory_Cached_bytes', of.cache],
    ['memory_Dirty_bytes', of.dirty],
    ['memory_Inactive_anon_bytes', of.inactive_anon],
    ['memory_Inactive_file_bytes', of.inactive_file],
    ['memory_Inactive_bytes', sum(of.inactive_anon, of.inactive_file)],
    ['memory_Mapped_bytes', of.mapped],
    ['memory_MemAvailable_bytes', total - memoryBytes + (of.cache ?? 0)],
    ['memory_MemFree_bytes', total - memoryBytes],
    ['memory_MemTotal_bytes', total],
    ['memory_RSS_bytes', of.rss],
    ['memory_Shmem_bytes', of.shmem],
    ['memory_Swap_bytes', swapBytes],
    ['memory_Unevictable_bytes', of.unevictable],
    ['memory_Writeback_bytes', of.writeback],
  ];
}

const processors = ({ cpus }: CgroupStatistics): Figure[] =>
  cpus.flatMap(({ cpu, userNs, systemNs }): Figure[] => [
    ['cpu_seconds_total', systemNs / 1e9, { cpu, mode: 'system' }],
    ['cpu_seconds_total', userNs / 1e9, { cpu, mode: 'user' }],
  ]);

function blockDevices({ disks }: CgroupStatistics): Figure[] {
  const names = disks.size > 0 ? partitionNames() : new Map<string, string>();
  return [...disks].flatMap(([id, disk]): Figure[] => {
    const labels = { device: names.get(id) ?? id };
    return [
      ['disk_read_bytes_total', disk.readBytes, labels],
      ['disk_reads_completed_total', disk.reads, labels],
      ['disk_written_bytes_total', disk.writtenBytes, labels],
      ['disk_writes_completed_total', disk.writes, labels],
    ];
  });
}

/** 'major:minor' → name, of all block devices. */
function partitionNames(): Map<string, string> {
  const lines = readFileSync('/proc/partitions', 'latin1').matchAll(/^\s*(\d+)\s+(\d+)\s+\d+\s+(\S+)$/gm);
  return new Map(Array.from(lines, ([, major, minor, name]) => [`${major}:${minor}`, name!]));
}

/** Of its disks, as the host sees them: nothing inside is asked. */
async function fileSystems(tools: InstanceTools, record: InstanceRecord): Promise<Figure[]> {
  const mounts = listMounts();
  const disks = Object.values(record.expandedDevices).filter(({ type, path }) => type === 'disk' && path);
  const figures = await Promise.all(
    disks.map(async (device): Promise<Figure[]> => {
      const path = hostPath(tools, record, device);
      const figures = await statfs(path).catch(() => undefined);
      if (!figures) return [];
      const mount = mountOf(path, mounts);
      const labels = { device: mount?.source ?? '', fstype: mount?.type ?? '', mountpoint: device.path! };
      return [
        ['filesystem_avail_bytes', figures.bavail * figures.bsize, labels],
        ['filesystem_free_bytes', figures.bfree * figures.bsize, labels],
        ['filesystem_size_bytes', figures.blocks * figures.bsize, labels],
      ];
    }),
  );
  return figures.flat();
}

function hostPath(tools: InstanceTools, record: InstanceRecord, device: Readonly<Record<string, string>>): string {
  if (!device.pool) return device.source!;
  const volume = isRootDisk(device)
    ? rootVolume(record)
    : {
        pool: device.pool,
        project: effectiveProject(tools.reader, record.project, 'features.storage.volumes'),
        type: 'custom' as const,
        name: device.source!,
      };
  return `${poolPath(tools.context.server.stateDir, volume.pool)}/${liveDirectory(volume.type)}/${nameOnDisk(volume)}`;
}
