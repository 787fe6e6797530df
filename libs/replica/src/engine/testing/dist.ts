import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The built twin of a file beside this one: what starts a worker or a process runs from dist, for vitest does not transform it. */
export function built(name: string): URL {
  const here = import.meta.url;
  const url = new URL(name, here.includes('/dist/') ? here : here.replace('/libs/replica/src/', '/dist/libs/replica/src/'));
  if (!existsSync(fileURLToPath(url))) throw new Error(`${fileURLToPath(url)} is missing: run npm run build first`);
  return url;
}
