import type { Check } from './placement.js';

const reasons = { offline: 'is offline', evacuated: 'is evacuated', blocked: 'waits for others to be upgraded' } as const;

export const onlineCheck: Check = {
  name: 'online',
  refuses: (_placement, { name, state }) => (state === 'online' ? undefined : `Member "${name}" ${reasons[state]}`),
};
