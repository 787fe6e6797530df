import type { Check } from './placement.js';

/** Named members and groups, and members that want to be named. */
export const targetCheck: Check = {
  name: 'target',
  refuses({ target }, { name, groups, schedulerInstance }) {
    if (target?.startsWith('@')) {
      const group = target.slice(1);
      return groups.includes(group) && schedulerInstance !== 'manual' ? undefined : `Member "${name}" is not in group "${group}"`;
    }
    if (target) return target === name ? undefined : `Member "${name}" is not "${target}"`;
    return schedulerInstance === 'all' ? undefined : `Member "${name}" takes only instances that are sent to it`;
  },
};
