import type { KeyDefinition, KeyDefinitions } from '#config-keys';
import * as check from './checks.js';

type Rest = Partial<Omit<KeyDefinition, 'doc' | 'type'>>;
const key =
  (type: KeyDefinition['type']) =>
  (short: string, rest: Rest = {}): KeyDefinition => ({ type, since: 'core', whileInUse: 'next-start', ...rest, doc: { short } });

export const text = key('string');
export const bool = key('bool');
export const integer = key('integer');

const atOnce = { whileInUse: 'at-once' } as const;

/** Keys of every instance. */
export const anyKeys: KeyDefinitions = {
  'boot.autostart': bool('Start when the daemon starts; unset: as it was when the daemon stopped', atOnce),
  'boot.autostart.delay': integer('Seconds to wait after this start before the next', { default: '0', ...atOnce }),
  'boot.autostart.priority': integer('Order of start, highest first', { default: '0', ...atOnce }),
  'boot.host_shutdown_timeout': integer('Seconds for a clean stop when the host goes down', {
    since: 'container_host_shutdown_timeout',
    default: '30',
    ...atOnce,
  }),
  'boot.stop.priority': integer('Order of stop when the host goes down, highest first', {
    since: 'container_stop_priority',
    default: '0',
    ...atOnce,
  }),
  'cloud-init.network-config': text('Network configuration for cloud-init', { since: 'cloud_init', check: check.yaml }),
  'cloud-init.user-data': text('User data for cloud-init', { since: 'cloud_init', check: check.cloudInitData }),
  'cloud-init.vendor-data': text('Vendor data for cloud-init', { since: 'cloud_init', check: check.cloudInitData }),
  'cluster.evacuate': {
    ...text('What evacuation does with it', { since: 'clustering_evacuation', default: 'auto', ...atOnce }),
    type: 'set',
    values: ['auto', 'migrate', 'live-migrate', 'stop'],
  },
  'environment.*': text('Environment of init and of every command', atOnce),
  'limits.cpu': text('Number of CPUs, or the CPUs to use', { since: 'core', check: check.cpuSet, ...atOnce }),
  'limits.disk.priority': integer('Share of disk time under load, 0 to 10', { check: check.priority, ...atOnce }),
  'limits.memory': text('Most memory, in bytes or percent of the host', { check: check.memoryLimit, ...atOnce }),
  'limits.network.priority': integer('Priority of outgoing traffic, 0 to 10', { check: check.priority, ...atOnce }),
  'raw.apparmor': text('Added to the AppArmor profile'),
  'raw.idmap': text('Host ids inside: "uid|gid|both HOST[-HOST] INSIDE[-INSIDE]" a line', { since: 'id_map' }),
  'security.devlxd': bool('Offer /dev/lxd inside', { since: 'restrict_devlxd', default: 'true' }),
  'security.protection.delete': bool('Refuse to delete it', { since: 'container_protection_delete', ...atOnce }),
  'snapshots.schedule': text('When to make snapshots', { since: 'snapshot_scheduling', check: check.schedule, ...atOnce }),
  'snapshots.schedule.stopped': bool('Also while stopped', { since: 'snapshot_scheduling', ...atOnce }),
  'snapshots.pattern': text('Names of snapshots; %d is a running number', { since: 'snapshot_scheduling', default: 'snap%d', ...atOnce }),
  'snapshots.expiry': text('How long snapshots are kept', { since: 'snapshot_expiry', check: check.expiry, ...atOnce }),
  'image.*': text('Properties of the image that it came from', atOnce),
  'user.*': text('Free form', atOnce),
};

const kept = (short: string, rest: Rest = {}): KeyDefinition => text(short, { ...atOnce, ...rest });

/** Set by the server, kept for a client that writes back what it read. */
export const volatileKeys: KeyDefinitions = {
  'volatile.apply_template': kept('Templates to apply at the next start'),
  'volatile.apply_nvram': kept('Regenerate the NVRAM at the next start'),
  'volatile.apply_quota': kept('Quota to apply at the next start'),
  'volatile.base_image': kept('Fingerprint of the image that it came from'),
  'volatile.cloud-init.instance-id': kept('Id that cloud-init sees', { check: check.uuid }),
  'volatile.evacuate.origin': kept('Member that it was evacuated from'),
  'volatile.idmap.base': kept('First host id of its range'),
  'volatile.idmap.current': kept('Id map in the kernel', { since: 'id_map_current' }),
  'volatile.idmap.next': kept('Id map of the next start', { since: 'id_map_current' }),
  'volatile.last_state.idmap': kept('Id map of the files on disk', { since: 'id_map_current' }),
  'volatile.last_state.power': kept('RUNNING or STOPPED, for the start of the daemon'),
  'volatile.uuid': kept('UUID that stays when it moves', { check: check.uuid }),
  'volatile.vsock_id': kept('Its vsock address', { type: 'integer' } as Rest),
  ...Object.fromEntries(
    ['hwaddr', 'name', 'host_name', 'mtu', 'created', 'id', 'vlan', 'spoofcheck', 'apply_quota', 'ceph_rbd', 'driver', 'uuid'].map((suffix) => [
      `volatile.**.${suffix}`,
      kept(`Of a device: ${suffix}`),
    ]),
  ),
  ...Object.fromEntries(
    ['created', 'mtu', 'hwaddr', 'ip_addresses', 'vf.id', 'vf.hwaddr', 'vf.vlan', 'vf.spoofcheck', 'vf.parent'].map((suffix) => [
      `volatile.**.last_state.${suffix}`,
      kept(`Of a device before the start: ${suffix}`),
    ]),
  ),
};
