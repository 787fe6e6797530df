import { parseArgs } from 'node:util';
import { Api } from '../api.js';
import type { Subcommand } from '../main.js';

export const shutdown: Subcommand = {
  summary: 'Stop all instances and the daemon (--force: do not wait for operations; --timeout SECONDS)',
  async run(args, dir) {
    const { values } = parseArgs({
      args,
      options: { force: { type: 'boolean', short: 'f', default: false }, timeout: { type: 'string', short: 't', default: '0' } },
    });
    const api = new Api(dir);
    const done = api.call('PUT', `/internal/shutdown?force=${values.force}`);
    const seconds = Number(values.timeout);
    if (seconds > 0) {
      const late = new Promise<never>((_, reject) => {
        setTimeout(() => reject(new Error(`Muster still running after ${seconds}s timeout`)), seconds * 1000).unref();
      });
      await Promise.race([done, late]);
    } else {
      await done;
    }
    return 0;
  },
};
