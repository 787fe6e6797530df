import { readFileSync } from 'node:fs';
import { statusOf } from '../model/index.js';
import { instances, type InstanceRecord } from '../state/index.js';
import type { InstanceTools } from './tools.js';

const settleMs = 50;

/**
 * Which CPUs each running container uses. One that asks for certain CPUs has them; one that asks for a number gets that many, those with the fewest other
 * containers on them; all others have all. Worked out anew whenever something starts, stops or changes its limits.
 */
export class CpuBalance {
  #timer?: NodeJS.Timeout;
  #pinned = new Map<string, string>();

  constructor(private readonly tools: InstanceTools) {}

  /** Soon, once for all that happens at a time. */
  schedule(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.balance().catch((error: unknown) => this.tools.log.warn({ err: error }, 'could not spread containers over the CPUs'));
    }, settleMs).unref();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  async balance(): Promise<void> {
    const { reader, context, paths } = this.tools;
    const running = instances(reader, { memberId: context.server.memberId, type: 'container' }).filter(
      ({ status }) => status === statusOf('running').status_code || status === statusOf('frozen').status_code,
    );
    const wanted = spread(running, onlineCpus());
    const next = new Map<string, string>();
    for (const record of running) {
      const key = paths.key(record);
      const cpus = wanted.get(record.id)!;
      // What was never pinned has all by itself.
      if (record.expandedConfig['limits.cpu'] || this.#pinned.has(key.hostName)) {
        if (this.#pinned.get(key.hostName) !== cpus)
          await this.tools
            .driver(record)
            .pin(key, cpus)
            .catch((error: unknown) => this.tools.log.warn({ err: error, instance: record.name }, 'could not pin a container'));
        next.set(key.hostName, cpus);
      }
    }
    this.#pinned = next;
  }
}

/** The CPUs of each, by its id. Those that name theirs first, then by number; equal load goes to the lowest. */
export function spread(running: readonly Pick<InstanceRecord, 'id' | 'expandedConfig'>[], online: readonly number[]): Map<number, string> {
  const load = new Map(online.map((cpu) => [cpu, 0]));
  const result = new Map<number, string>();
  const all = formatCpus(online);
  const take = (id: number, cpus: readonly number[]): void => {
    for (const cpu of cpus) load.set(cpu, (load.get(cpu) ?? 0) + 1);
    result.set(id, cpus.length > 0 ? formatCpus(cpus) : all);
  };
  const byNumber: { id: number; count: number }[] = [];
  for (const { id, expandedConfig } of running) {
    const limit = expandedConfig['limits.cpu'] ?? '';
    if (limit === '') result.set(id, all);
    else if (/^\d+$/.test(limit)) byNumber.push({ id, count: Number(limit) });
    else
      take(
        id,
        parseCpus(limit).filter((cpu) => load.has(cpu)),
      );
  }
  for (const { id, count } of byNumber) {
    const cpus = [...load.entries()].sort(([a, aLoad], [b, bLoad]) => aLoad - bLoad || a - b).map(([cpu]) => cpu);
    take(
      id,
      cpus.slice(0, Math.max(1, count)).sort((a, b) => a - b),
    );
  }
  return result;
}

function onlineCpus(): number[] {
  return parseCpus(readFileSync('/sys/devices/system/cpu/online', 'latin1').trim());
}

/** '0-2,5' → 0, 1, 2, 5 */
export function parseCpus(text: string): number[] {
  const cpus: number[] = [];
  for (const part of text.split(',')) {
    const [first, last] = part.split('-').map(Number);
    for (let cpu = first!; cpu <= (last ?? first!); cpu++) cpus.push(cpu);
  }
  return cpus;
}

const formatCpus = (cpus: readonly number[]): string => cpus.join(',');
