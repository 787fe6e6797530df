type Kind = 'counter' | 'gauge';

/** The families of GET /1.0/metrics by their names in LXD without `lxd_`, in its order. */
const families = {
  cpu_seconds_total: ['counter', 'Seconds of CPU time used.'],
  disk_read_bytes_total: ['counter', 'Bytes read from a disk.'],
  disk_reads_completed_total: ['counter', 'Reads of a disk that were completed.'],
  disk_written_bytes_total: ['counter', 'Bytes written to a disk.'],
  disk_writes_completed_total: ['counter', 'Writes to a disk that were completed.'],
  filesystem_avail_bytes: ['gauge', 'Bytes of a file system that users may still take.'],
  filesystem_free_bytes: ['gauge', 'Bytes of a file system that are free.'],
  filesystem_size_bytes: ['gauge', 'Size of a file system.'],
  memory_Active_anon_bytes: ['gauge', 'Anonymous memory on the active list.'],
  memory_Active_file_bytes: ['gauge', 'Memory of files on the active list.'],
  memory_Active_bytes: ['gauge', 'Memory on the active list.'],
  memory_Cached_bytes: ['gauge', 'Memory that caches files.'],
  memory_Dirty_bytes: ['gauge', 'Memory that waits to be written to disk.'],
  memory_Inactive_anon_bytes: ['gauge', 'Anonymous memory on the inactive list.'],
  memory_Inactive_file_bytes: ['gauge', 'Memory of files on the inactive list.'],
  memory_Inactive_bytes: ['gauge', 'Memory on the inactive list.'],
  memory_Mapped_bytes: ['gauge', 'Memory of files that are mapped.'],
  memory_MemAvailable_bytes: ['gauge', 'Memory that could be had, that of caches included.'],
  memory_MemFree_bytes: ['gauge', 'Memory that is free.'],
  memory_MemTotal_bytes: ['gauge', 'Memory that may be used.'],
  memory_RSS_bytes: ['gauge', 'Anonymous memory.'],
  memory_Shmem_bytes: ['gauge', 'Shared memory, which swap can take.'],
  memory_Swap_bytes: ['gauge', 'Swap that is used.'],
  memory_Unevictable_bytes: ['gauge', 'Memory that cannot be reclaimed.'],
  memory_Writeback_bytes: ['gauge', 'Memory that is being written to disk.'],
  network_receive_bytes_total: ['counter', 'Bytes received by an interface.'],
  network_receive_drop_total: ['counter', 'Packets dropped on their way in.'],
  network_receive_errs_total: ['counter', 'Errors on the way in.'],
  network_receive_packets_total: ['counter', 'Packets received by an interface.'],
  network_transmit_bytes_total: ['counter', 'Bytes sent by an interface.'],
  network_transmit_drop_total: ['counter', 'Packets dropped on their way out.'],
  network_transmit_errs_total: ['counter', 'Errors on the way out.'],
  network_transmit_packets_total: ['counter', 'Packets sent by an interface.'],
  procs_total: ['gauge', 'Processes that run.'],
} as const satisfies Record<string, readonly [Kind, string]>;

export type MetricFamily = keyof typeof families;

export interface Sample {
  family: MetricFamily;
  labels: Readonly<Record<string, string>>;
  value: number;
}

/** Prometheus' text: each family once, with all its samples; labels by name. '' without samples. */
export function renderSamples(samples: readonly Sample[]): string {
  const byFamily = Map.groupBy(samples, ({ family }) => family);
  return Object.entries(families)
    .flatMap(([family, [kind, help]]) => {
      const lines = byFamily.get(family as MetricFamily)?.map(({ labels, value }) => `lxd_${family}${rendered(labels)} ${value}\n`) ?? [];
      return lines.length === 0 ? [] : [`# HELP lxd_${family} ${help}\n# TYPE lxd_${family} ${kind}\n`, ...lines];
    })
    .join('');
}

const rendered = (labels: Readonly<Record<string, string>>): string =>
  `{${Object.entries(labels)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}="${value.replace(/[\\"\n]/g, (found) => (found === '\n' ? '\\n' : `\\${found}`))}"`)
    .join(',')}}`;
