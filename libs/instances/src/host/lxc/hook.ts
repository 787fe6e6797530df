import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * LXC runs this when a container has ended. It leaves an empty file whose name says all: NAME@stop or NAME@reboot. Shell builtins only, about 1 ms, and
 * nothing is lost while no daemon listens. When a daemon is there, a reboot is refused (LXC then ends), because the daemon starts the container again
 * itself, with its devices made anew and its newest configuration; without one LXC reboots it.
 */
const script = `#!/bin/sh
dir=\${0%/*}
: > "$dir/ended/$LXC_NAME@$LXC_TARGET"
[ "$LXC_TARGET" = reboot ] || exit 0
read -r pid started < "$dir/agent" || exit 0
read -r stat < "/proc/$pid/stat" || exit 0
set -- \${stat##*) }
[ "\${20}" = "$started" ] && exit 1
exit 0
`;

/** The hook script and what it leaves behind. */
export class StopHook {
  readonly path: string;
  readonly #ended: string;
  readonly #agent: string;

  constructor(directory: string) {
    this.path = join(directory, 'stop-hook');
    this.#ended = join(directory, 'ended');
    this.#agent = join(directory, 'agent');
  }

  /** Writes the script, and says that this process is the daemon from now on. */
  async install(): Promise<void> {
    await mkdir(this.#ended, { recursive: true, mode: 0o700 });
    await writeFile(`${this.path}.new`, script, { mode: 0o755 });
    await rename(`${this.path}.new`, this.path);
    const started = (await readFile('/proc/self/stat', 'latin1')).split(') ')[1]!.split(' ')[19]!;
    await writeFile(this.#agent, `${process.pid} ${started}\n`, { mode: 0o600 });
  }

  /** Takes what the hook said of a container's last end; undefined when it said nothing, since its monitor was killed. */
  async take(name: string): Promise<'stop' | 'reboot' | undefined> {
    for (const target of ['reboot', 'stop'] as const) {
      const file = join(this.#ended, `${name}@${target}`);
      if (!existsSync(file)) continue;
      await this.forget(name);
      return target;
    }
    return undefined;
  }

  async forget(name: string): Promise<void> {
    for (const target of ['stop', 'reboot']) await rm(join(this.#ended, `${name}@${target}`), { force: true });
  }

  /** Names of containers that ended while nobody listened. */
  async ended(): Promise<string[]> {
    return (await readdir(this.#ended)).map((file) => file.slice(0, file.lastIndexOf('@')));
  }
}
