import type { Check } from './placement.js';

export const poolCheck: Check = {
  name: 'pool',
  refuses(placement, { name, pools }) {
    const missing = placement.pools.find((pool) => !pools.includes(pool));
    return missing === undefined ? undefined : `Member "${name}" has no storage pool "${missing}" that can be used`;
  },
};
