import { names, number, text } from './sysfs.js';

const root = '/sys/devices/system/node';

/** Bytes. */
export function memory(): Record<string, unknown> {
  const info = meminfo('/proc/meminfo');
  const pages = (name: string): number => (info.get(name) ?? 0) / 1024;
  const hugePage = info.get('Hugepagesize') ?? 0;
  const huge = { total: pages('HugePages_Total') * hugePage, free: pages('HugePages_Free') * hugePage };
  const total = info.get('MemTotal') ?? 0;
  const nodes = names(root)
    .filter((one) => /^node\d+$/.test(one))
    .map((node) => {
      const own = meminfo(`${root}/${node}/meminfo`);
      const at = `${root}/${node}/hugepages/hugepages-${hugePage / 1024}kB`;
      const hugeTotal = (number(`${at}/nr_hugepages`) ?? 0) * hugePage;
      return {
        numa_node: Number(node.slice(4)),
        hugepages_used: hugeTotal - (number(`${at}/free_hugepages`) ?? 0) * hugePage,
        hugepages_total: hugeTotal,
        used: own.get('MemUsed') ?? 0,
        total: own.get('MemTotal') ?? 0,
      };
    });
  return {
    nodes,
    hugepages_total: huge.total,
    hugepages_used: huge.total - huge.free,
    hugepages_size: hugePage,
    // What programs hold: caches can be had back.
    used: total - (info.get('MemAvailable') ?? 0),
    total,
  };
}

/** Names → bytes (the file says kB; counts without a unit are multiplied alike). */
function meminfo(path: string): Map<string, number> {
  const lines = (text(path) ?? '').matchAll(/^(?:Node \d+ )?(\w+(?:\(\w+\))?):\s+(\d+)/gm);
  return new Map([...lines].map(([, name, value]) => [name!, Number(value) * 1024]));
}
