import os from 'node:os';
import { driverOf, hexId, known, names, number, numaNode, pciAddress, text, usbAddress } from './sysfs.js';

const root = '/sys/class/net';

/** Cards are PCI devices with their ports; links that are no hardware (bridges, veth) do not count. */
export function network(): Record<string, unknown> {
  const cards = new Map<string, { ports: Record<string, unknown>[] } & Record<string, unknown>>();
  for (const id of names(root)) {
    const at = `${root}/${id}`;
    const device = `${at}/device`;
    const address = pciAddress(at);
    if (address === undefined) continue;
    const driver = driverOf(device) || driverOf(`/sys/bus/pci/devices/${address}`);
    const card = cards.get(address) ?? {
      ...known({ driver, driver_version: driver && os.release() }),
      ports: [],
      numa_node: numaNode(`/sys/bus/pci/devices/${address}`),
      pci_address: address,
      ...known({ usb_address: usbAddress(device) }),
      ...known({ vendor_id: hexId(`/sys/bus/pci/devices/${address}/vendor`), product_id: hexId(`/sys/bus/pci/devices/${address}/device`) }),
    };
    card.ports.push(port(id, at));
    cards.set(address, card);
  }
  return { cards: [...cards.values()], total: cards.size };
}

function port(id: string, at: string): Record<string, unknown> {
  const speed = number(`${at}/speed`);
  return {
    id,
    ...known({ address: text(`${at}/address`) }),
    port: number(`${at}/dev_port`) ?? 0,
    protocol: number(`${at}/type`) === 32 ? 'infiniband' : 'ethernet',
    port_type: 'other',
    transceiver_type: 'internal',
    auto_negotiation: false,
    link_detected: text(`${at}/carrier`) === '1',
    ...known({ link_speed: speed !== undefined && speed > 0 ? speed : undefined, link_duplex: text(`${at}/duplex`) === 'full' ? 'full' : undefined }),
  };
}
