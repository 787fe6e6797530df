import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The repository, from its sources as from dist. */
export const root = ((): string => {
  let directory = import.meta.dirname;
  while (!existsSync(join(directory, 'package-lock.json'))) directory = dirname(directory);
  return directory;
})();
