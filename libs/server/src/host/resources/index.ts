import { gpu, pci, usb } from './buses.js';
import { cpu } from './cpu.js';
import { memory } from './memory.js';
import { network } from './network.js';
import { storage } from './storage.js';
import { system } from './system.js';

/** Hardware as GET /1.0/resources shows it, read from /sys and /proc. What the kernel does not tell is left out or empty, as LXD does. */
export function resources(): Record<string, unknown> {
  return { cpu: cpu(), memory: memory(), gpu: gpu(), network: network(), storage: storage(), usb: usb(), pci: pci(), system: system() };
}
