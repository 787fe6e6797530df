import { defineKeys, type KeyDefinition, type KeyDefinitions } from '#config-keys';
import { fault } from '#kit';
import { parseListenAddress } from './address.js';
import { parseExpiry } from './expiry.js';

const check =
  (holds: (value: string) => boolean, sentence: string): KeyDefinition['check'] =>
  (value) => {
    if (!holds(value)) throw fault.invalid(sentence);
  };

const listenAddress = (value: string): void => void parseListenAddress(value);
const expiry = (value: string): void => void parseExpiry(value, new Date(0));
const compression = check((value) => /^(none|bzip2|gzip|lzma|lz4|xz|zstd|squashfs)( -\S+)*$/.test(value), 'Compression algorithm is unknown');
const between = (least: number, most: number): KeyDefinition['check'] =>
  check((value) => Number(value) >= least && Number(value) <= most, `Value must be between ${least} and ${most}`);

type Rest = Partial<Omit<KeyDefinition, 'type' | 'doc' | 'since'>>;
const key = (type: KeyDefinition['type'], since: string, short: string, rest: Rest = {}): KeyDefinition => ({
  type,
  scope: 'global',
  since,
  whileInUse: 'at-once',
  doc: { short },
  ...rest,
});
const onMember: Rest = { scope: 'member' };

const core: KeyDefinitions = {
  'core.bgp_address': key('string', 'network_bgp', 'Address to bind the BGP server to', { ...onMember, check: listenAddress }),
  'core.bgp_asn': key('integer', 'network_bgp', 'BGP autonomous system number of the server', { default: '0', check: between(0, 4294967294) }),
  'core.bgp_routerid': key('string', 'network_bgp', 'Unique identifier of this BGP server', {
    ...onMember,
    check: check((value) => /^\d{1,3}(\.\d{1,3}){3}$/.test(value), 'Not an IPv4 address'),
  }),
  'core.debug_address': key('string', 'core', 'Address to bind the debug server to', { ...onMember, check: listenAddress }),
  'core.dns_address': key('string', 'network_dns', 'Address to bind the authoritative DNS server to', { ...onMember, check: listenAddress }),
  'core.https_address': key('string', 'core', 'Address to bind the API to (HTTPS)', { ...onMember, check: listenAddress }),
  'core.https_allowed_credentials': key('bool', 'core', 'Whether browsers may send credentials to the API'),
  'core.https_allowed_headers': key('string', 'core', 'Value of Access-Control-Allow-Headers'),
  'core.https_allowed_methods': key('string', 'core', 'Value of Access-Control-Allow-Methods'),
  'core.https_allowed_origin': key('string', 'core', 'Value of Access-Control-Allow-Origin'),
  'core.https_trusted_proxy': key('string', 'server_trusted_proxy', 'Proxies that may tell the address of a client by the PROXY protocol'),
  'core.metrics_address': key('string', 'metrics', 'Address to bind the metrics server to (HTTPS)', { ...onMember, check: listenAddress }),
  'core.metrics_authentication': key('bool', 'metrics_authentication', 'Whether metrics need a trusted certificate', { default: 'true' }),
  'core.proxy_http': key('string', 'core', 'HTTP proxy for what the server fetches'),
  'core.proxy_https': key('string', 'core', 'HTTPS proxy for what the server fetches'),
  'core.proxy_ignore_hosts': key('string', 'core', 'Hosts that are reached without the proxy'),
  'core.remote_token_expiry': key('string', 'remote_token_expiry', 'How long a trust token is good (`1H`, `2d`)', { check: expiry }),
  'core.shutdown_timeout': key('integer', 'core', 'Minutes to wait for running operations before a shutdown', { default: '5' }),
  'core.trust_ca_certificates': key('bool', 'trust_ca_certificates', 'Whether to trust all certificates that the CA signed'),
  'core.trust_password': key('string', 'core', 'Password by which clients may add their certificate', { secret: true }),
};

const services: KeyDefinitions = {
  'candid.api.key': key('string', 'candid_config_key', 'Public key of the Candid server'),
  'candid.api.url': key('string', 'macaroon_authentication', 'URL of the Candid server'),
  'candid.domains': key('string', 'candid_config', 'Candid domains that are allowed'),
  'candid.expiry': key('integer', 'candid_config', 'Seconds after which a macaroon expires', { default: '3600' }),
  'rbac.agent.private_key': key('string', 'rbac', 'Private key of the RBAC agent'),
  'rbac.agent.public_key': key('string', 'rbac', 'Public key of the RBAC agent'),
  'rbac.agent.url': key('string', 'rbac', 'URL of the RBAC agent'),
  'rbac.agent.username': key('string', 'rbac', 'User name of the RBAC agent'),
  'rbac.api.expiry': key('integer', 'rbac', 'Seconds after which a macaroon expires', { default: '3600' }),
  'rbac.api.key': key('string', 'rbac', 'Public key of the RBAC server'),
  'rbac.api.url': key('string', 'rbac', 'URL of the RBAC server'),
  'maas.api.key': key('string', 'maas_network', 'Key of the MAAS API'),
  'maas.api.url': key('string', 'maas_network', 'URL of the MAAS server'),
  'maas.machine': key('string', 'maas_network', 'Name of this machine in MAAS', onMember),
};

const cluster: KeyDefinitions = {
  'cluster.https_address': key('string', 'clustering_server_address', 'Address for the traffic between members', {
    ...onMember,
    check: listenAddress,
  }),
  'cluster.images_minimal_replica': key('integer', 'clustering_image_replication', 'Members that hold a copy of each image; -1 for all', {
    default: '3',
    check: check((value) => Number(value) >= 1 || value === '-1', 'Invalid value for image replica count'),
  }),
  'cluster.join_token_expiry': key('string', 'cluster_join_token_expiry', 'How long a join token is good', { default: '3H', check: expiry }),
  'cluster.max_standby': key('integer', 'clustering_sizing', 'Members with the role database-standby', { default: '2', check: between(0, 5) }),
  'cluster.max_voters': key('integer', 'clustering_sizing', 'Members with the role database', {
    default: '3',
    check: check((value) => Number(value) >= 3 && Number(value) % 2 === 1, 'Value must be an odd number equal to or higher than 3'),
  }),
  'cluster.offline_threshold': key('integer', 'clustering', 'Seconds after which a silent member counts as offline', {
    default: '20',
    check: check((value) => Number(value) > 10, "Value must be greater than '10'"),
  }),
};

const images: KeyDefinitions = {
  'backups.compression_algorithm': key('string', 'backup_compression', 'Compression of backups', { default: 'gzip', check: compression }),
  'images.auto_update_cached': key('bool', 'core', 'Whether cached images are kept up to date', { default: 'true' }),
  'images.auto_update_interval': key('integer', 'core', 'Hours between looks for newer images; 0: never', { default: '6' }),
  'images.compression_algorithm': key('string', 'image_compression_algorithm', 'Compression of new images', { default: 'gzip', check: compression }),
  'images.default_architecture': key('string', 'images_default_architecture', 'Architecture that is taken where several would do'),
  'images.remote_cache_expiry': key('integer', 'core', 'Days after which an unused cached image is removed', { default: '10' }),
  'network.ovn.integration_bridge': key('string', 'network_type_ovn', 'OVS integration bridge for OVN networks', { default: 'br-int' }),
  'network.ovn.northbound_connection': key('string', 'network_type_ovn', 'Address of the OVN northbound database', {
    default: 'unix:/var/run/ovn/ovnnb_db.sock',
  }),
  'storage.backups_volume': key('string', 'daemon_storage', 'Volume (POOL/VOLUME) that holds backups', onMember),
  'storage.images_volume': key('string', 'daemon_storage', 'Volume (POOL/VOLUME) that holds image files', onMember),
};

/** The keys of GET /1.0's `config`. Those of scope 'member' are each member's own. */
export const serverKeys = defineKeys('server', core, services, cluster, images, { 'user.*': key('string', 'core', 'Free for the user') });
