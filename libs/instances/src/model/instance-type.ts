import { fault } from '#kit';

/**
 * `c2-m4` → limits.cpu 2, limits.memory 4096MB; parts of a core become an allowance (`c0.5`: one core, half its time).
 * @throws Fault invalid; also for names of cloud providers' types, whose tables Muster does not fetch
 */
export function limitsOfInstanceType(text: string): Record<string, string> {
  const config: Record<string, string> = {};
  for (const part of text.split('-')) {
    const match = /^([cm])(\d+(?:\.\d+)?)$/.exec(part);
    if (!match) throw fault.invalid(`Provided instance type doesn't exist: ${text}`);
    const amount = Number(match[2]);
    if (amount === 0) continue;
    if (match[1] === 'm') {
      config['limits.memory'] = `${Math.floor(amount * 1024)}MB`;
      continue;
    }
    const cores = Math.ceil(amount);
    const share = Math.floor((amount / cores) * 100);
    config['limits.cpu'] = String(cores);
    if (share < 100) config['limits.cpu.allowance'] = `${share}%`;
  }
  return config;
}
