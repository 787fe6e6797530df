import { join } from 'node:path';
import type { HostContext } from '#members';
import { prefixedName } from '#storage/model';
import type { InstanceRecord } from '../state/index.js';
import type { InstanceKey } from './driver.js';

type Named = Pick<InstanceRecord, 'project' | 'name'>;

/** Where things of an instance lie under the state directory; LXD's layout, since people and tools look there. */
export class InstancePaths {
  constructor(private readonly context: Pick<HostContext, 'server' | 'naming'>) {}

  key({ project, name }: Named): InstanceKey {
    return { hostName: this.context.naming.lxc(project, name), logDirectory: this.logs({ project, name }) };
  }

  logs(of: Named): string {
    return this.#below('logs', of);
  }

  devices(of: Named): string {
    return this.#below('devices', of);
  }

  inject(of: Named): string {
    return this.#below('shmounts', of);
  }

  /** A directory each for what instances see as /dev/lxd. */
  get guest(): string {
    return join(this.context.server.stateDir, 'devlxd');
  }

  #below(directory: string, { project, name }: Named): string {
    return join(this.context.server.stateDir, directory, prefixedName(project, name));
  }
}
