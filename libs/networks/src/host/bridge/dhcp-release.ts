import { createSocket } from 'node:dgram';
import { randomBytes } from 'node:crypto';
import { parseAddress } from '../../model/index.js';

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

export interface Lease6 {
  address: string;
  iaid: string;
  clientDuid: string;
  serverDuid: string;
}

/** The same in DHCPv6 (RFC 8415, RELEASE): who asked, who gave, and the address. */
export function releasePacket6(lease: Lease6, transaction: Uint8Array): Buffer {
  const option = (code: number, ...parts: Buffer[]): Buffer => {
    const body = Buffer.concat(parts);
    const head = Buffer.alloc(4);
    head.writeUInt16BE(code, 0);
    head.writeUInt16BE(body.length, 2);
    return Buffer.concat([head, body]);
  };
  const duid = (text: string): Buffer => Buffer.from(text.replaceAll(':', ''), 'hex');
  const iaid = Buffer.alloc(4);
  iaid.writeUInt32BE(Number(lease.iaid) >>> 0, 0);
  const address = Buffer.from(parseAddress(lease.address)!.value.toString(16).padStart(32, '0'), 'hex');
  const times = Buffer.alloc(8);
  return Buffer.concat([
    Buffer.from([8, ...transaction.subarray(0, 3)]),
    option(1, duid(lease.clientDuid)),
    option(2, duid(lease.serverDuid)),
    option(3, iaid, times, option(5, address, times)),
  ]);
}

/** Gives the lease of a nic that is gone back in its name, so that its address is free before the lease ends. Nobody answers a release: this is best effort. */
export const releaseLease = (lease: { hwaddr: string; address: string; server: string }): Promise<void> =>
  send('udp4', releasePacket(lease, randomBytes(4)), 67, lease.server);

export const releaseLease6 = (lease: Lease6, server: string): Promise<void> => send('udp6', releasePacket6(lease, randomBytes(3)), 547, server);

async function send(type: 'udp4' | 'udp6', packet: Buffer, port: number, server: string): Promise<void> {
  const socket = createSocket(type);
  try {
    await new Promise<void>((resolve) => {
      socket.once('error', () => resolve());
      socket.send(packet, port, server, () => resolve());
    });
  } finally {
    socket.close();
  }
}
