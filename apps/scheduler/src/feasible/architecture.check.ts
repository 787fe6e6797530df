import type { Check } from './placement.js';

export const architectureCheck: Check = {
  name: 'architecture',
  refuses: ({ architecture }, { name, architectures }) =>
    architecture === undefined || architectures.includes(architecture) ? undefined : `Member "${name}" cannot run architecture "${architecture}"`,
};
