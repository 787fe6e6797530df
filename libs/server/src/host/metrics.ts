import { memoryUsage, resourceUsage } from 'node:process';

/** What a scrape asks for. */
export interface MetricsScope {
  /** Only these projects; all when absent. */
  projects?: readonly string[];
  /** With the server's own families (`muster_*`): not for callers that are confined to projects. */
  server: boolean;
  upSeconds: number;
}

/** Families of a higher subject (instances: LXD's own `lxd_*`), as Prometheus text that ends with a newline, or ''. */
export type MetricsSource = (scope: MetricsScope) => string | Promise<string>;

export class MetricsRegistry {
  constructor(private readonly sources: readonly MetricsSource[]) {}

  async text(scope: MetricsScope): Promise<string> {
    const parts = await Promise.all(this.sources.map((source) => source(scope)));
    // The last line is OpenMetrics' own, which LXD has, too.
    return `${parts.join('')}${scope.server ? ownFamilies(scope.upSeconds) : ''}# EOF\n`;
  }
}

function ownFamilies(upSeconds: number): string {
  const { userCPUTime, systemCPUTime } = resourceUsage();
  const { rss, heapUsed } = memoryUsage();
  return (
    family('muster_uptime_seconds', 'gauge', 'Seconds since the daemon started.', upSeconds) +
    family('muster_process_cpu_seconds_total', 'counter', 'CPU time of the daemon in seconds.', (userCPUTime + systemCPUTime) / 1e6) +
    family('muster_process_resident_memory_bytes', 'gauge', 'Resident memory of the daemon.', rss) +
    family('muster_nodejs_heap_used_bytes', 'gauge', 'Used heap of the main thread.', heapUsed)
  );
}

const family = (name: string, type: string, help: string, value: number): string =>
  `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${name} ${value}\n`;
