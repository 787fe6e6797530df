import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';

const file = process.env.MUSTER_FAULT_POINTS;
let passed = 0;

/**
 * A place between two steps, where the process may die. Tests try each: with MUSTER_FAULT_POINTS=FILE in the environment, the points passed are written to
 * FILE, one a line, while FILE.at holds a number; at the point of that number the process kills itself. A new number starts counting anew. Otherwise nothing
 * happens. Where to put one: after what another process, a disk or the kernel now remembers.
 */
export const faultPoint: (name: string) => void = file === undefined ? () => {} : (name) => pass(file, name);

function pass(path: string, name: string): void {
  let at;
  try {
    at = readFileSync(`${path}.at`, 'utf8');
  } catch {
    return;
  }
  if (at.startsWith('new ')) {
    passed = 0;
    at = at.slice('new '.length);
    writeFileSync(`${path}.at`, at);
  }
  passed += 1;
  appendFileSync(path, `${name.replaceAll('\n', ' ')}\n`);
  if (passed === Number(at)) process.kill(process.pid, 'SIGKILL');
}
