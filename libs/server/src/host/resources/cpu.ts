import os from 'node:os';
import { known, names, number, text } from './sysfs.js';

const root = '/sys/devices/system/cpu';

interface Thread {
  id: number;
  numa_node: number;
  thread: number;
  online: boolean;
  isolated: boolean;
}

export function cpu(): Record<string, unknown> {
  const isolated = ranges(text(`${root}/isolated`) ?? '');
  const info = cpuInfo();
  const sockets = new Map<number, Map<string, { core: number; die: number; threads: Thread[]; frequency?: number }>>();
  let total = 0;
  for (const name of names(root).filter((one) => /^cpu\d+$/.test(one))) {
    const id = Number(name.slice(3));
    const at = `${root}/${name}`;
    const online = (text(`${at}/online`) ?? '1') === '1';
    const socket = Math.max(0, number(`${at}/topology/physical_package_id`) ?? 0);
    const core = number(`${at}/topology/core_id`) ?? id;
    const die = Math.max(0, number(`${at}/topology/die_id`) ?? 0);
    const cores = sockets.get(socket) ?? new Map<string, never>();
    sockets.set(socket, cores);
    const key = `${die}/${core}`;
    const entry = cores.get(key) ?? { core, die, threads: [], frequency: khzToMhz(number(`${at}/cpufreq/scaling_cur_freq`)) };
    const node = names(at).find((one) => /^node\d+$/.test(one));
    entry.threads.push({ id, numa_node: Number(node?.slice(4) ?? 0), thread: entry.threads.length, online, isolated: isolated.has(id) });
    cores.set(key, entry);
    total++;
  }
  return {
    architecture: os.machine(),
    sockets: [...sockets].map(([socket, cores]) => ({
      ...known({ name: info.name, vendor: info.vendor }),
      socket,
      cache: caches(),
      cores: [...cores.values()].map(({ frequency, ...core }) => ({ ...core, ...known({ frequency }) })),
      ...known({
        frequency_minimum: khzToMhz(number(`${root}/cpu0/cpufreq/cpuinfo_min_freq`)),
        frequency_turbo: khzToMhz(number(`${root}/cpu0/cpufreq/cpuinfo_max_freq`)),
      }),
    })),
    total,
  };
}

const khzToMhz = (khz: number | undefined): number | undefined => (khz === undefined ? undefined : Math.round(khz / 1000));

function caches(): Record<string, unknown>[] {
  const at = `${root}/cpu0/cache`;
  return names(at)
    .filter((one) => one.startsWith('index'))
    .map((index) => ({
      level: number(`${at}/${index}/level`) ?? 0,
      type: text(`${at}/${index}/type`) ?? '',
      size: Number((text(`${at}/${index}/size`) ?? '0').replace(/K$/, '')) * 1024,
    }));
}

function cpuInfo(): { name?: string; vendor?: string } {
  const info = text('/proc/cpuinfo') ?? '';
  const field = (name: string): string | undefined => new RegExp(`^${name}\\s*: (.*)$`, 'm').exec(info)?.[1];
  return { name: field('model name') ?? field('cpu'), vendor: field('vendor_id') ?? field('CPU implementer') };
}

/** '0-3,5' → 0, 1, 2, 3, 5. */
function ranges(list: string): Set<number> {
  const all = new Set<number>();
  for (const word of list.split(',').filter((one) => one !== '')) {
    const [from, to = from] = word.split('-').map(Number);
    for (let at = from!; at <= to!; at++) all.add(at);
  }
  return all;
}
