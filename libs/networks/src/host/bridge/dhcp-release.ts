import { createSocket } from 'node:dgram';
import { randomBytes } from 'node:crypto';

const packetBytes = 300;
const releaseMessage = 7;

/** The packet by which a client gives its address back (RFC 2131, DHCPRELEASE). */
export function releasePacket(lease: { hwaddr: string; address: string; server: string }, transaction: Uint8Array): Buffer {
  const packet = Buffer.alloc(packetBytes);
  const octets = (address: string): number[] => address.split('.').map(Number);
  packet.set([1, 1, 6, 0], 0); // request, Ethernet, six octets of hardware address
  packet.set(transaction.subarray(0, 4), 4);
  packet.set(octets(lease.address), 12);
  packet.set(
    lease.hwaddr.split(':').map((word) => parseInt(word, 16)),
    28,
  );
  packet.set([0x63, 0x82, 0x53, 0x63, 53, 1, releaseMessage, 54, 4, ...octets(lease.server), 255], 236);
  return packet;
}

/** Gives the lease of a nic that is gone back in its name, so that its address is free before the lease ends. Nobody answers a release: this is best effort. */
export async function releaseLease(lease: { hwaddr: string; address: string; server: string }): Promise<void> {
  const socket = createSocket('udp4');
  try {
    await new Promise<void>((resolve) => {
      socket.once('error', () => resolve());
      socket.send(releasePacket(lease, randomBytes(4)), 67, lease.server, () => resolve());
    });
  } finally {
    socket.close();
  }
}
