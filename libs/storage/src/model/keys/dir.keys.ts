import type { KeyDefinitions } from '#config-keys';

/** The dir driver has no keys of its own. */
export const dirPoolKeys: KeyDefinitions = {};
