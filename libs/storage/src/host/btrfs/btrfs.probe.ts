import { Fault } from '#kit';
import { run } from '#host-kit';
import type { ProbeResult } from '../driver.js';

/** The tools and their version; whether the kernel has btrfs shows at the first mount, since modules load on demand. */
export async function probeBtrfs(): Promise<ProbeResult> {
  try {
    const result = await run('btrfs', ['version'], { timeoutMs: 5000 });
    const version = /v(\d+(?:\.\d+)*)/.exec(result.stdout.toString())?.[1];
    if (result.code !== 0 || !version) return { state: 'broken', reason: "The 'btrfs' tool isn't working properly" };
    return { state: 'ready', version };
  } catch (error) {
    const { kind, message } = Fault.from(error);
    return { state: kind === 'unsupported' ? 'missing' : 'broken', reason: message };
  }
}
