import { parseArgs } from 'node:util';
import { startDaemon } from '../daemon/daemon.js';
import { openLog } from '../daemon/logging.js';

/** `muster [--logfile F] [--verbose|--debug] [--group G]`: the daemon, in the foreground. Takes LXD's flags; an empty argument is none. */
export async function runDaemon(args: string[], stateDir: string): Promise<number> {
  const { values } = parseArgs({
    args: args.filter((argument) => argument !== ''),
    options: {
      logfile: { type: 'string' },
      verbose: { type: 'boolean', short: 'v', default: false },
      debug: { type: 'boolean', short: 'd', default: false },
      group: { type: 'string' },
      // Accepted as LXD's daemon does; tracing and profiles are not made.
      trace: { type: 'string', multiple: true },
      syslog: { type: 'boolean' },
    },
  });
  const level = values.debug ? 'debug' : values.verbose ? 'info' : 'warn';
  const log = openLog({ file: values.logfile, level });
  process.on('unhandledRejection', (error) => log.error({ err: error }, 'unhandled rejection'));
  process.on('uncaughtException', (error) => {
    // What state the process is in is unknown, and everything survives its end: end it.
    log.error({ err: error }, 'uncaught exception');
    process.exit(1);
  });
  const daemon = await startDaemon({ stateDir, log, group: values.group });
  // SIGPWR: the machine goes down, and instances with it. The others end the daemon only.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const) process.on(signal, () => void daemon.stop({ host: false }));
  process.on('SIGPWR', () => void daemon.stop({ host: true }));
  await daemon.ended;
  process.exit(0);
}
