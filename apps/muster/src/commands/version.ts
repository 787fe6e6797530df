import type { Subcommand } from '../main.js';
import { version as number } from '../version.js';

export const version: Subcommand = {
  summary: 'Show the version',
  async run() {
    console.log(number);
    return 0;
  },
};
