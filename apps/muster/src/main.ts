import { Fault } from '#kit';
import { stateDir } from './state-dir.js';

/** One subcommand. Resolves with the exit status. */
export interface Subcommand {
  summary: string;
  run(args: string[], dir: string): Promise<number>;
}

// Loaded when called: `muster version` must not cost what the daemon does.
const subcommands: Record<string, () => Promise<Subcommand>> = {
  init: async () => (await import('./init/init.command.js')).init,
  waitready: async () => (await import('./commands/waitready.js')).waitready,
  shutdown: async () => (await import('./commands/shutdown.js')).shutdown,
  sql: async () => (await import('./commands/sql.js')).sql,
  activateifneeded: async () => (await import('./commands/activateifneeded.js')).activateIfNeeded,
  doctor: async () => (await import('./commands/doctor.js')).doctor,
  version: async () => (await import('./commands/version.js')).version,
};

async function main(args: string[]): Promise<number> {
  // LXD's own scripts start the daemon with an empty argument where others have --debug.
  const [first, ...rest] = args.filter((argument) => argument !== '');
  if (first === undefined || first.startsWith('-')) {
    if (first === '--help' || first === '-h') return help();
    if (first === '--version') return await (await import('./commands/version.js')).version.run([], '');
    return (await import('./commands/daemon.js')).runDaemon(first === undefined ? [] : [first, ...rest], stateDir());
  }
  if (first === 'daemon') return (await import('./commands/daemon.js')).runDaemon(rest, stateDir());
  const load = subcommands[first];
  if (!load) {
    console.error(`Error: unknown command "${first}" for "muster"`);
    return 1;
  }
  return (await load()).run(rest, stateDir());
}

async function help(): Promise<number> {
  console.log('Usage: muster [--logfile FILE] [--verbose|--debug] [--group GROUP]     the daemon, in the foreground\n       muster COMMAND\n');
  for (const [name, load] of Object.entries(subcommands)) console.log(`  ${name.padEnd(18)}${(await load()).summary}`);
  return 0;
}

main(process.argv.slice(2)).then(
  (status) => {
    process.exitCode = status;
  },
  (error: unknown) => {
    console.error(`Error: ${error instanceof Fault || error instanceof Error ? error.message : String(error)}`);
    if (process.env.MUSTER_DEBUG) console.error(error);
    process.exitCode = 1;
  },
);
