import os from 'node:os';
import { driverOf, hexId, known, linkName, names, number, numaNode, text, usbAddress } from './sysfs.js';

const pciRoot = '/sys/bus/pci/devices';
const usbRoot = '/sys/bus/usb/devices';

const pciDriver = (at: string): { driver: string; driver_version: string } => {
  const driver = driverOf(at);
  return { driver, driver_version: driver === '' ? '' : os.release() };
};

export function pci(): Record<string, unknown> {
  const devices = names(pciRoot).map((address) => {
    const at = `${pciRoot}/${address}`;
    return {
      ...pciDriver(at),
      numa_node: numaNode(at),
      pci_address: address,
      // Names stand in a data base of the distribution, not in the kernel: only ids are certain.
      vendor: '',
      vendor_id: hexId(`${at}/vendor`),
      product: '',
      product_id: hexId(`${at}/device`),
      iommu_group: Number(linkName(`${at}/iommu_group`) ?? 0),
      vpd: {},
    };
  });
  return { devices, total: devices.length };
}

/** Display controllers (PCI class 03). */
export function gpu(): Record<string, unknown> {
  const cards = names(pciRoot)
    .filter((address) => (text(`${pciRoot}/${address}/class`) ?? '').startsWith('0x03'))
    .map((address) => {
      const at = `${pciRoot}/${address}`;
      return {
        ...known(pciDriver(at)),
        numa_node: numaNode(at),
        pci_address: address,
        ...known({ usb_address: usbAddress(at), vendor_id: hexId(`${at}/vendor`), product_id: hexId(`${at}/device`) }),
        ...known({ mdev: mdev(`${at}/mdev_supported_types`) }),
      };
    });
  return { cards, total: cards.length };
}

/** Kinds of virtual cards that a card can be parted into, by name; undefined where it cannot. */
export function mdev(root: string): Record<string, unknown> | undefined {
  const kinds = names(root);
  if (kinds.length === 0) return undefined;
  return Object.fromEntries(
    kinds.map((kind) => {
      const at = `${root}/${kind}`;
      return [
        kind,
        {
          api: text(`${at}/device_api`) ?? '',
          available: number(`${at}/available_instances`) ?? 0,
          ...known({ name: text(`${at}/name`), description: text(`${at}/description`) }),
          devices: names(`${at}/devices`),
        },
      ];
    }),
  );
}

/** What is plugged in: hubs (class 09) and interfaces are passed over. */
export function usb(): Record<string, unknown> {
  const devices = names(usbRoot)
    .filter((name) => !name.includes(':') && text(`${usbRoot}/${name}/bDeviceClass`) !== '09')
    .map((name) => {
      const at = `${usbRoot}/${name}`;
      return {
        bus_address: number(`${at}/busnum`) ?? 0,
        device_address: number(`${at}/devnum`) ?? 0,
        interfaces: names(at)
          .filter((one) => one.startsWith(`${name}:`))
          .map((one) => ({
            class_id: Number.parseInt(text(`${at}/${one}/bInterfaceClass`) ?? '0', 16),
            ...pciDriver(`${at}/${one}`),
            number: Number.parseInt(text(`${at}/${one}/bInterfaceNumber`) ?? '0', 16),
            subclass_id: Number.parseInt(text(`${at}/${one}/bInterfaceSubClass`) ?? '0', 16),
          })),
        product: text(`${at}/product`) ?? '',
        product_id: text(`${at}/idProduct`) ?? '',
        speed: number(`${at}/speed`) ?? 0,
        vendor: text(`${at}/manufacturer`) ?? '',
        vendor_id: text(`${at}/idVendor`) ?? '',
      };
    });
  return { devices, total: devices.length };
}
