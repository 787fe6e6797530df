import { names, text } from './sysfs.js';

const root = '/sys/class/dmi/id';

/** What the firmware says of the machine; empty where there is none (containers, some clouds). */
export function system(): Record<string, unknown> {
  const field = (name: string): string => text(`${root}/${name}`) ?? '';
  const has = names(root).length > 0;
  const part = (prefix: string, fields: readonly string[]): Record<string, string> | null =>
    has ? Object.fromEntries(fields.map((name) => [name, field(`${prefix}_${name === 'product' ? 'name' : name}`)])) : null;
  const hypervisor = / hypervisor\b/.test(text('/proc/cpuinfo') ?? '');
  return {
    uuid: field('product_uuid'),
    vendor: field('sys_vendor'),
    product: field('product_name'),
    family: field('product_family'),
    version: field('product_version'),
    sku: field('product_sku'),
    serial: field('product_serial'),
    type: text('/run/systemd/container') !== undefined ? 'container' : hypervisor ? 'virtual-machine' : 'physical',
    firmware: part('bios', ['date', 'vendor', 'version']),
    chassis: has ? { ...part('chassis', ['vendor', 'serial', 'version']), type: chassisType(field('chassis_type')) } : null,
    motherboard: part('board', ['product', 'serial', 'vendor', 'version']),
  };
}

const chassisType = (code: string): string =>
  ({ '3': 'Desktop', '8': 'Portable', '9': 'Laptop', '10': 'Notebook', '17': 'Main Server Chassis', '23': 'Rack Mount Chassis' })[code] ??
  (code === '' ? '' : 'Other');
