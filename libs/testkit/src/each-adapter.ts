import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DirectMembers, type Members } from '#members';
import { SplitMembers } from '#members/split';

export interface AdapterPair extends AsyncDisposable {
  /** What the http wings have. */
  gateway: Members;
  /** What the host wings have: the same object with the direct adapter. */
  agent: Members;
}

const memberName = (): string => 'none';

/** Ways to run a spec that must not know which adapter it has: `describe.each(adapters)('%s', (_name, open) => …)`. */
export const adapters: [name: string, open: () => Promise<AdapterPair>][] = [
  [
    'direct',
    async () => {
      const members = new DirectMembers({ checked: true, memberName });
      return { gateway: members, agent: members, [Symbol.asyncDispose]: async () => {} };
    },
  ],
  [
    'split',
    async () => {
      const directory = mkdtempSync(join(tmpdir(), 'muster-members-'));
      const gateway = new SplitMembers({ directory, role: 'gateway', memberName });
      const agent = new SplitMembers({ directory, role: 'agent', memberName });
      await gateway.listen();
      await agent.listen();
      return {
        gateway,
        agent,
        async [Symbol.asyncDispose]() {
          await Promise.all([gateway.close(), agent.close()]);
          rmSync(directory, { recursive: true, force: true });
        },
      };
    },
  ],
];
