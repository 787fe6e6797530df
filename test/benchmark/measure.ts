import { performance } from 'node:perf_hooks';
import type { Server } from '../support/server.js';

/** One line of the table: a figure per server, and which way is better. */
export interface Case {
  name: string;
  unit: 'ms' | '/s' | 'MB/s' | 'MB';
  /** Measures on one server; called in turn on each, `rounds` times, and the median counts. */
  run: (server: Server) => Promise<number>;
  rounds?: number;
}

export const higherIsBetter = (unit: Case['unit']): boolean => unit === '/s' || unit === 'MB/s';

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1]!;
}

/** Milliseconds of one call, the median of `times`. */
export async function each(times: number, work: (index: number) => Promise<unknown>): Promise<number> {
  const took: number[] = [];
  for (let index = 0; index < times; index++) {
    const began = performance.now();
    await work(index);
    took.push(performance.now() - began);
  }
  return median(took);
}

/** Calls a second with `width` of them under way. */
export async function rate(total: number, width: number, work: (index: number) => Promise<unknown>): Promise<number> {
  let next = 0;
  const began = performance.now();
  await Promise.all(
    Array.from({ length: width }, async () => {
      while (next < total) await work(next++);
    }),
  );
  return total / ((performance.now() - began) / 1000);
}
