// Where things are, for scripts that run under any Node.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
export const inRepository = (path) => join(root, path);

/** The Node that the project pins, or the one that runs this as long as nothing is installed. */
export let node = process.execPath;

/** Called again once packages were installed: importers see the new value. */
export function locateNode() {
  node =
    ['x64', 'arm64'].map((arch) => inRepository(`node_modules/node-linux-${arch}/bin/node`)).find((path) => existsSync(path)) ?? process.execPath;
}

locateNode();
