import type { ConfigMap } from '#api-contract';
import type { Keys } from '#config-keys';
import { fault, Fault } from '#kit';
import { bridgeKeys } from './bridge.keys.js';
import { checkBridge, withBridgeDefaults } from './bridge-config.js';
import { macvlanKeys } from './macvlan.keys.js';
import type { NetworkType } from './types.js';

interface TypeRules {
  keys: Keys;
  /** What is between keys. @throws Fault */
  check(name: string, config: ConfigMap): void;
  /** What a new one gets where the client said nothing. `auto` remains for the host to replace. */
  withDefaults(config: ConfigMap, host: { hasIpv6: boolean }): ConfigMap;
}

const rules: Record<NetworkType, TypeRules> = {
  bridge: { keys: bridgeKeys, check: checkBridge, withDefaults: (config, { hasIpv6 }) => withBridgeDefaults(config, hasIpv6) },
  macvlan: {
    keys: macvlanKeys,
    check(name, config) {
      if (!config['parent']) throw fault.invalid(`Invalid value for network "${name}" option "parent": Required value`);
    },
    withDefaults: (config) => config,
  },
};

export const isNetworkType = (type: string): type is NetworkType => type in rules;

function rulesOf(type: string): TypeRules {
  if (!isNetworkType(type)) throw fault.invalid(`Network type "${type}" is not supported`);
  return rules[type];
}

/**
 * Checks a whole config for a network of this type and name.
 * @throws Fault invalid, with the words that LXD uses
 */
export function validateNetwork(type: string, name: string, config: ConfigMap): void {
  const { keys, check } = rulesOf(type);
  for (const [key, value] of Object.entries(config)) {
    if (!keys.find(key)) throw fault.invalid(`Invalid option for network "${name}" option "${key}"`);
    try {
      keys.validate({ [key]: value });
    } catch (error) {
      throw fault.invalid(`Invalid value for network "${name}" option "${key}": ${Fault.from(error).message}`);
    }
  }
  check(name, config);
}

/** What a new network of this type gets where the client said nothing. @throws Fault invalid for a type that there is not */
export const withNetworkDefaults = (type: string, config: ConfigMap, host: { hasIpv6: boolean }): ConfigMap =>
  rulesOf(type).withDefaults(config, host);
