import { defineKeys, type KeyDefinitions } from '#config-keys';
import { fault, parseSize } from '#kit';

const feature = (short: string): KeyDefinitions[string] => ({ type: 'bool', since: 'projects', doc: { short } });
const count = (short: string): KeyDefinitions[string] => ({
  type: 'integer',
  since: 'projects_limits',
  check: (value, key) => {
    if (Number(value) < 0) throw fault.invalid(`Invalid value "${value}" for key "${key}": must not be negative`);
  },
  doc: { short },
});
const amount = (short: string): KeyDefinitions[string] => ({
  type: 'size',
  since: 'projects_limits',
  check: (value) => void parseSize(value),
  doc: { short },
});
const allowOrBlock = (short: string): KeyDefinitions[string] => ({
  type: 'set',
  values: ['allow', 'block'],
  since: 'projects_restrictions',
  doc: { short },
});
const managed = (short: string): KeyDefinitions[string] => ({
  type: 'set',
  values: ['allow', 'block', 'managed'],
  since: 'projects_restrictions',
  doc: { short },
});
const text = (short: string): KeyDefinitions[string] => ({ type: 'string', since: 'projects_restrictions', doc: { short } });

/** Every key of a project's config. */
export const projectKeys = defineKeys('project', {
  'features.images': feature('Own images and aliases'),
  'features.profiles': feature('Own profiles'),
  'features.storage.volumes': feature('Own custom volumes'),
  'features.networks': feature('Own networks'),
  'backups.compression_algorithm': { type: 'string', since: 'projects', doc: { short: 'Compression of backups in this project' } },
  'images.auto_update_cached': { type: 'bool', since: 'projects_images_cache', doc: { short: 'Refresh cached images' } },
  'images.auto_update_interval': { type: 'integer', since: 'projects_images_cache', doc: { short: 'Hours between refreshes, 0 for never' } },
  'images.compression_algorithm': { type: 'string', since: 'projects', doc: { short: 'Compression of published images' } },
  'images.default_architecture': { type: 'string', since: 'projects', doc: { short: 'Architecture when none is given' } },
  'images.remote_cache_expiry': { type: 'integer', since: 'projects_images_cache', doc: { short: 'Days an unused cached image is kept' } },
  'limits.instances': count('Most instances'),
  'limits.containers': count('Most containers'),
  'limits.virtual-machines': count('Most virtual machines'),
  'limits.cpu': count('Sum of limits.cpu'),
  'limits.memory': amount('Sum of limits.memory'),
  'limits.processes': count('Sum of limits.processes'),
  'limits.disk': amount('Sum of the sizes of all volumes and images'),
  'limits.networks': count('Most networks'),
  restricted: { type: 'bool', since: 'projects_restrictions', doc: { short: 'Refuse what could harm the host unless a restricted.* key allows it' } },
  'restricted.backups': allowOrBlock('Backups'),
  'restricted.cluster.groups': text('Cluster groups that may be targeted'),
  'restricted.cluster.target': allowOrBlock('?target='),
  'restricted.containers.interception': allowOrBlock('System call interception'),
  'restricted.containers.lowlevel': allowOrBlock('raw.* and friends'),
  'restricted.containers.nesting': allowOrBlock('security.nesting'),
  'restricted.containers.privilege': { ...allowOrBlock('Privileged containers'), values: ['allow', 'isolated', 'unprivileged'] },
  'restricted.devices.disk': managed('Disk devices'),
  'restricted.devices.disk.paths': text('Host paths that a disk may use'),
  'restricted.devices.gpu': allowOrBlock('GPUs'),
  'restricted.devices.infiniband': allowOrBlock('Infiniband'),
  'restricted.devices.nic': managed('NICs'),
  'restricted.devices.pci': allowOrBlock('PCI devices'),
  'restricted.devices.proxy': allowOrBlock('Proxies'),
  'restricted.devices.unix-block': allowOrBlock('Block devices'),
  'restricted.devices.unix-char': allowOrBlock('Character devices'),
  'restricted.devices.unix-hotplug': allowOrBlock('Hot-plugged devices'),
  'restricted.devices.usb': allowOrBlock('USB devices'),
  'restricted.idmap.gid': text('Host gids that raw.idmap may use'),
  'restricted.idmap.uid': text('Host uids that raw.idmap may use'),
  'restricted.networks.access': text('Networks that may be used'),
  'restricted.networks.subnets': text('Subnets that may be used'),
  'restricted.networks.uplinks': text('Uplinks that may be used'),
  'restricted.networks.zones': text('DNS zones that may be used'),
  'restricted.snapshots': allowOrBlock('Snapshots'),
  'restricted.virtual-machines.lowlevel': allowOrBlock('raw.* of virtual machines'),
  'user.*': { type: 'string', since: 'projects', doc: { short: 'Free form' } },
});
