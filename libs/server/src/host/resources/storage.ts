import { known, linkTo, names, number, numaNode, pciAddress, text, usbAddress } from './sysfs.js';

const root = '/sys/class/block';
const sectorBytes = 512;

/** Whole disks with their partitions; loop, ram and mapped devices are no disks of their own. */
export function storage(): Record<string, unknown> {
  const disks = names(root)
    .filter((id) => names(`${root}/${id}/device`).length > 0 && text(`${root}/${id}/partition`) === undefined)
    .map((id) => disk(id, `${root}/${id}`));
  return { disks, total: disks.length };
}

function disk(id: string, at: string): Record<string, unknown> {
  return {
    id,
    device: text(`${at}/dev`) ?? '',
    ...known({ model: text(`${at}/device/model`), type: kind(id, at) }),
    read_only: text(`${at}/ro`) === '1',
    size: bytes(at),
    removable: text(`${at}/removable`) === '1',
    ...known({ wwn: text(`${at}/wwid`), device_path: linkTo('/dev/disk/by-path', id) }),
    numa_node: numaNode(`${at}/device`),
    block_size: number(`${at}/queue/physical_block_size`) ?? 0,
    rpm: number(`${at}/queue/rotational`) ?? 0,
    ...known({ firmware_version: text(`${at}/device/firmware_rev`) ?? text(`${at}/device/rev`), serial: text(`${at}/device/serial`) }),
    device_id: linkTo('/dev/disk/by-id', id) ?? '',
    partitions: names(at)
      .filter((name) => text(`${at}/${name}/partition`) !== undefined)
      .map((name) => ({
        id: name,
        device: text(`${at}/${name}/dev`) ?? '',
        read_only: text(`${at}/${name}/ro`) === '1',
        size: bytes(`${at}/${name}`),
        partition: number(`${at}/${name}/partition`) ?? 0,
      })),
    ...known({ pci_address: pciAddress(at), usb_address: usbAddress(`${at}/device`) }),
  };
}

const bytes = (at: string): number => (number(`${at}/size`) ?? 0) * sectorBytes;

function kind(id: string, at: string): string {
  if (id.startsWith('nvme')) return 'nvme';
  if (id.startsWith('vd')) return 'virtio';
  if (id.startsWith('sr')) return 'cdrom';
  return names(`${at}/device`).some((name) => name.startsWith('scsi_')) ? 'scsi' : '';
}
