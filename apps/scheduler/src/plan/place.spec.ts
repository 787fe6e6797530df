import { describe, expect, it } from 'vitest';
import type { Candidate, Placement, Refusal } from '../feasible/placement.js';
import { place } from './place.js';

const member = (name: string, more: Partial<Candidate> = {}): Candidate => ({
  name,
  state: 'online',
  architectures: ['x86_64', 'i686'],
  pools: ['default'],
  networks: ['br0'],
  groups: ['default'],
  schedulerInstance: 'all',
  instances: 0,
  ...more,
});
const wants = (more: Partial<Placement> = {}): Placement => ({ architecture: 'x86_64', pools: ['default'], networks: ['br0'], ...more });

describe('place', () => {
  it('has one choice with one member', () => {
    expect(place(wants(), [member('none')])).toEqual({ member: 'none', refusals: [] });
  });

  it('takes the member with the fewest instances, of equals the first by name', () => {
    expect(place(wants(), [member('m3'), member('m1', { instances: 4 }), member('m2')]).member).toBe('m2');
  });

  it.each<[string, Placement, Partial<Candidate>, string]>([
    ['online', wants(), { state: 'offline' }, 'Member "m1" is offline'],
    ['online', wants(), { state: 'evacuated' }, 'Member "m1" is evacuated'],
    ['target', wants({ target: 'm9' }), {}, 'Member "m1" is not "m9"'],
    ['target', wants({ target: '@gpu' }), {}, 'Member "m1" is not in group "gpu"'],
    ['target', wants(), { schedulerInstance: 'group' }, 'Member "m1" takes only instances that are sent to it'],
    ['target', wants({ target: '@default' }), { schedulerInstance: 'manual' }, 'Member "m1" is not in group "default"'],
    ['architecture', wants({ architecture: 'aarch64' }), {}, 'Member "m1" cannot run architecture "aarch64"'],
    ['pool', wants({ pools: ['fast'] }), {}, 'Member "m1" has no storage pool "fast" that can be used'],
    ['network', wants({ networks: ['ovn1'] }), {}, 'Member "m1" has no network "ovn1" that can be used'],
  ])('refuses by %s, and says so', (check, placement, more, reason) => {
    const refusals: Refusal[] = [{ member: 'm1', check, reason }];
    expect(() => place(placement, [member('m1', more)])).toThrow(
      expect.objectContaining({ kind: 'invalid', message: expect.stringContaining(reason), metadata: { refusals } }),
    );
  });

  it('obeys a target, also one that takes nothing by itself, and tells why not the others', () => {
    const { member: name, refusals } = place(wants({ target: 'm2' }), [member('m1'), member('m2', { schedulerInstance: 'manual', instances: 9 })]);
    expect(name).toBe('m2');
    expect(refusals).toEqual([{ member: 'm1', check: 'target', reason: 'Member "m1" is not "m2"' }]);
  });

  it('says so when there is nobody', () => {
    expect(() => place(wants(), [])).toThrow('No suitable cluster member could be found');
  });
});
