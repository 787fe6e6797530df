import { expect, it } from 'vitest';
import { checkUnprivileged } from './unprivileged-only.js';

it('a server for unprivileged containers only refuses every way to be privileged', () => {
  const refused: Record<string, string>[] = [
    { 'security.privileged': 'yes' },
    { 'raw.idmap': 'both 0 1000' },
    { 'raw.lxc': 'lxc.idmap=' },
    { 'raw.lxc': ' LXC.include = x' },
  ];
  for (const config of refused) expect(() => checkUnprivileged(config), JSON.stringify(config)).toThrow('only allow unprivileged containers');
  checkUnprivileged({ 'security.privileged': 'false', 'raw.idmap': '', 'raw.lxc': 'lxc.cap.drop=sys_admin' });
});
