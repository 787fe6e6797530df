import type { Socket } from 'node:net';
import koffi from 'koffi';

const getsockopt = koffi.load('libc.so.6').func('int getsockopt(int fd, int level, int name, _Out_ uint8_t *val, _Inout_ uint32_t *len)');
const solSocket = 1;
const soPeercred = 17;

export interface PeerCred {
  pid: number;
  uid: number;
  gid: number;
}

/** Who connected to a unix socket, as the kernel saw it at connect; undefined when the socket is gone already. */
export function peerCred(socket: Socket): PeerCred | undefined {
  const fd = (socket as unknown as { _handle?: { fd?: number } | null })._handle?.fd;
  if (fd === undefined || fd < 0) return undefined;
  const ucred = Buffer.alloc(12);
  if (getsockopt(fd, solSocket, soPeercred, ucred, [ucred.length]) !== 0) return undefined;
  return { pid: ucred.readInt32LE(0), uid: ucred.readUInt32LE(4), gid: ucred.readUInt32LE(8) };
}
