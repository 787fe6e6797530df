import { totalmem } from 'node:os';
import { Cgroup, cgroupSettings, cgroupStatistics, type CgroupLayout, type CgroupStatistics } from '#host-kit';
import { fault } from '#kit';
import { containerLimits, type ContainerLimits, type LxcLine } from '../../model/index.js';
import type { Usage } from '../driver.js';

const frozenWithinMs = 5_000;
const pollMs = 10;

/** The control groups that liblxc makes for one container. */
export class ContainerCgroup {
  readonly #payload: Cgroup;
  readonly #monitor: Cgroup;

  constructor(
    private readonly layout: CgroupLayout,
    name: string,
  ) {
    this.#payload = new Cgroup(layout, `lxc.payload.${name}`);
    this.#monitor = new Cgroup(layout, `lxc.monitor.${name}`);
  }

  usage(): Usage {
    const usage = this.#payload.usage();
    return {
      cpuNs: usage.cpuNs ?? 0,
      memoryBytes: usage.memoryBytes ?? 0,
      memoryPeakBytes: usage.memoryPeakBytes ?? 0,
      memoryLimitBytes: usage.memoryLimitBytes ?? undefined,
      swapBytes: usage.swapBytes ?? 0,
      swapPeakBytes: usage.swapPeakBytes ?? 0,
      processes: usage.processes ?? 0,
    };
  }

  statistics(): CgroupStatistics {
    return cgroupStatistics(this.#payload);
  }

  /** Makes the limits of a config those of a running container. @throws Fault */
  limit(config: Readonly<Record<string, string>>): void {
    const { hugepages, ...limits } = containerLimits(config, totalmem(), true);
    this.#payload.limit(limits);
    for (const { key, value, lifted } of hugepageSettings(this.layout, hugepages)) {
      // A size that the machine does not have needs no lifting.
      if (!lifted || this.#payload.read('hugetlb', key) !== undefined) this.#payload.write('hugetlb', key, value);
    }
  }

  pin(cpus: string): void {
    this.#payload.write('cpuset', 'cpuset.cpus', cpus);
  }

  /** A fork bomb must not be quicker than the kernel that reaps it. */
  stopForking(): void {
    if (this.layout.controllers.has('pids') && this.#payload.exists()) this.#payload.write('pids', 'pids.max', '0');
  }

  /** @throws Fault internal when the kernel does not get there in time */
  async freeze(frozen: boolean): Promise<void> {
    if (this.#freezer === 1) this.#payload.write('freezer', 'freezer.state', frozen ? 'FROZEN' : 'THAWED');
    else this.#payload.write(this.#unified, 'cgroup.freeze', frozen ? '1' : '0');
    for (let waitedMs = 0; this.isFrozen() !== frozen; waitedMs += pollMs) {
      if (waitedMs >= frozenWithinMs) throw fault.internal(`Failed to ${frozen ? 'freeze' : 'unfreeze'} the container`);
      await new Promise((resolve) => setTimeout(resolve, pollMs));
    }
  }

  isFrozen(): boolean {
    if (this.#freezer === 1) return this.#payload.read('freezer', 'freezer.state') === 'FROZEN';
    return /^frozen 1$/m.test(this.#payload.read(this.#unified, 'cgroup.events') ?? '');
  }

  pids(): number[] {
    return this.#payload.pids();
  }

  /** What a killed monitor left behind. @throws Fault conflict while something runs in it */
  remove(): void {
    this.#payload.kill();
    this.#payload.remove();
    this.#monitor.remove();
  }

  get #freezer(): 1 | 2 {
    return this.layout.controllers.get('freezer')?.version === 1 ? 1 : 2;
  }

  /** On version 2 the freezer belongs to every group; any controller leads there. */
  get #unified(): 'memory' | 'pids' {
    return this.layout.controllers.has('pids') ? 'pids' : 'memory';
  }
}

/** Lines of a new container's configuration for its limits. */
export function limitLines(layout: CgroupLayout, config: Readonly<Record<string, string>>): LxcLine[] {
  const { hugepages, ...limits } = containerLimits(config, totalmem());
  const { settings } = cgroupSettings(layout, limits);
  const lines = settings.map(({ version, key, value }): LxcLine => [`${version === 2 ? 'lxc.cgroup2' : 'lxc.cgroup'}.${key}`, value]);
  const prefix = layout.controllers.get('hugetlb')?.version === 2 ? 'lxc.cgroup2' : 'lxc.cgroup';
  return [...lines, ...hugepageSettings(layout, hugepages).map(({ key, value }): LxcLine => [`${prefix}.${key}`, value])];
}

function hugepageSettings(layout: CgroupLayout, hugepages: ContainerLimits['hugepages']): { key: string; value: string; lifted: boolean }[] {
  const version = layout.controllers.get('hugetlb')?.version;
  if (version === undefined) return [];
  return hugepages.map(({ size, bytes }) => ({
    key: `hugetlb.${size}.${version === 1 ? 'limit_in_bytes' : 'max'}`,
    lifted: bytes === null,
    value: bytes === null ? (version === 1 ? '-1' : 'max') : String(bytes),
  }));
}
