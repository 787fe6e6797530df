import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Api } from '../api.js';
import type { Subcommand } from '../main.js';

export const waitready: Subcommand = {
  summary: 'Wait until the daemon serves requests (--timeout SECONDS, 0 for ever)',
  async run(args, dir) {
    const { values } = parseArgs({ args, options: { timeout: { type: 'string', short: 't', default: '0' } } });
    const seconds = Number(values.timeout);
    const end = seconds > 0 ? performance.now() + seconds * 1000 : Infinity;
    const api = new Api(dir);
    for (;;) {
      try {
        await api.get('/internal/ready');
        return 0;
      } catch (error) {
        if (performance.now() > end) {
          console.error(`Error: Muster still not running after ${seconds}s timeout (${(error as Error).message})`);
          return 1;
        }
        await sleep(50);
      }
    }
  },
};
