import { expect, it } from 'vitest';
import { commandSocketName } from './socket-name.js';

it('is path and name while there is room, and their hash beyond', () => {
  expect(commandSocketName('/srv/lxc', 'c1')).toBe('/srv/lxc/c1/command');
  expect(commandSocketName(`/${'d'.repeat(110)}`, 'c1')).toMatch(/^lxc\/[0-9a-f]{16}\/command$/);
});
