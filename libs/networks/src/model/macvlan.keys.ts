import { defineKeys } from '#config-keys';
import * as check from './checks.js';

const since = 'network_type_macvlan';

/** Keys of a network of type macvlan: what its nics take from it. */
export const macvlanKeys = defineKeys('network-macvlan', {
  parent: { type: 'string', since, scope: 'member', whileInUse: 'at-once', check: check.interfaceName, doc: { short: 'Interface of the host' } },
  mtu: { type: 'string', since, whileInUse: 'at-once', check: check.mtu, doc: { short: 'MTU of its nics' } },
  vlan: { type: 'string', since, whileInUse: 'at-once', check: check.vlan, doc: { short: 'VLAN of the parent' } },
  gvrp: { type: 'bool', since: 'network_gvrp', whileInUse: 'at-once', doc: { short: 'Registers the VLAN by GVRP' } },
  'maas.subnet.ipv4': { type: 'string', since, check: check.oneLine, doc: { short: 'Kept for clients that set it' } },
  'maas.subnet.ipv6': { type: 'string', since, check: check.oneLine, doc: { short: 'Kept for clients that set it' } },
  'user.*': { type: 'string', since, doc: { short: 'Free for clients' } },
});
