import type { Check } from './placement.js';

export const networkCheck: Check = {
  name: 'network',
  refuses(placement, { name, networks }) {
    const missing = placement.networks.find((network) => !networks.includes(network));
    return missing === undefined ? undefined : `Member "${name}" has no network "${missing}" that can be used`;
  },
};
