import { existsSync, realpathSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { requireProgram, run, spawn, start, startOnTerminal, type RunningProgram, type TerminalProgram } from '#host-kit';
import { fault } from '#kit';
import type { ExecRequest } from '../driver.js';

const startDeadlineMs = 120_000;

/** The only place that runs LXC's programs. */
export class LxcPrograms {
  constructor(private readonly lxcPath: string) {}

  /**
   * Starts a container and resolves when it runs: lxc-start returns, and leaves the monitor to itself.
   * @returns its exit code
   */
  async start(name: string, configFile: string, apparmor: boolean): Promise<number> {
    // newuidmap would hold even root to /etc/subuid. lxc-start looks for it in PATH and writes the map itself where there is none. With AppArmor it also
    // needs apparmor_parser, which is in sbin.
    const env: Record<string, string> = apparmor ? { LANG: 'C.UTF-8', PATH: '/usr/sbin:/sbin' } : { LANG: 'C.UTF-8' };
    const child = spawn({ path: requireProgram('lxc-start'), args: ['-P', this.lxcPath, '-n', name, '-f', configFile, '--daemon'], env });
    const timer = setTimeout(() => child.kill('SIGKILL'), startDeadlineMs);
    try {
      return (await child.ended).code ?? -1;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Whether liblxc takes a configuration: it says no to keys that it does not know and to values that it cannot read. */
  async canLoad(configFile: string): Promise<boolean> {
    const { code } = await run('lxc-info', ['-q', '-P', this.lxcPath, '-n', 'none', `--rcfile=${configFile}`, '-s'], { timeoutMs: 10_000 });
    return code === 0;
  }

  /** @param configFile of its start: lxc-attach takes the limits of the kernel from it */
  attach(name: string, configFile: string, request: ExecRequest): RunningProgram {
    const { args, cwd } = this.#attachArguments(name, configFile, request);
    return start('lxc-attach', args, {
      cwd,
      stdin: 'pipe',
      stdout: 'pipe',
      stderr: 'pipe',
      env: request.environment.TERM ? { TERM: request.environment.TERM } : {},
    });
  }

  attachOnTerminal(name: string, configFile: string, request: ExecRequest, size: { columns: number; rows: number }): TerminalProgram {
    const { args, cwd } = this.#attachArguments(name, configFile, request);
    return startOnTerminal('lxc-attach', args, { cwd, size, relays: true });
  }

  console(name: string, size: { columns: number; rows: number }): TerminalProgram {
    // 'X' is taken for the character -1, which means no escape (lxc_console.c counts from 'Z').
    return startOnTerminal('lxc-console', ['-P', this.lxcPath, '-n', name, '-t', '0', '-e', 'X', '-q'], { size, relays: true });
  }

  /** lxc-attach goes, inside, to the directory of the same name as its own; where the host has none of that name, a shell inside goes there. */
  #attachArguments(name: string, configFile: string, { command, environment, uid, gid, cwd }: ExecRequest): { args: string[]; cwd: string } {
    const directory = cwd || environment.HOME || '/';
    const known = isRealDirectory(directory);
    const variables = Object.entries(environment).flatMap(([key, value]) => ['-v', `${key}=${value}`]);
    const identity = uid === 0 && gid === 0 ? [] : ['-u', String(uid), '-g', String(gid)];
    const inside = known ? [...command] : ['/bin/sh', '-c', 'cd -- "$1" 2>/dev/null || cd /; shift; exec "$@"', 'sh', directory, ...command];
    // Whoever deletes the log directory of a running container loses its limits, not the way into it.
    const config = existsSync(configFile) ? ['-f', configFile] : [];
    const args = ['-P', this.lxcPath, '-n', name, ...config, '-q', '--clear-env', ...identity, ...variables, '--', ...inside];
    return { args, cwd: known ? directory : '/' };
  }
}

function isRealDirectory(path: string): boolean {
  try {
    return path.startsWith('/') && realpathSync(path) === path && statSync(path).isDirectory();
  } catch {
    return false;
  }
}

const errorLine = /^\S+ \S+ \S+ ERROR\s+(.*)$/;

/** What a container's log says went wrong, for the end of a sentence; '' when it says nothing. */
export async function logErrors(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch(() => '');
  const errors = text.split('\n').flatMap((line) => errorLine.exec(line)?.[1] ?? []);
  // The first says what happened, the rest who had to give up because of it. File and line of LXC's source help nobody.
  return (errors[0] ?? '').replace(/^\S+ - \S+:\S+:\d+ - /, '').slice(0, 500);
}

export const startFailed = async (logFile: string): Promise<Error> => {
  const why = await logErrors(logFile);
  return fault.internal(`Failed to start the container${why === '' ? '' : `: ${why}`}`, { detail: logFile });
};
