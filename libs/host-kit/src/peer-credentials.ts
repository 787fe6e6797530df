import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { libc } from './libc.js';

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;

export interface PeerCredentials {
  pid: number;
  uid: number;
  gid: number;
}

/** Who is at the other end of a unix socket, as the kernel noted it at connect; undefined for a closed one or another kind of socket. */
export function peerCredentials(socket: Socket): PeerCredentials | undefined {
  // Node tells the number of a socket's descriptor nowhere else.
  const fd = (socket as unknown as { _handle?: { fd?: number } | null })._handle?.fd;
  if (fd === undefined || fd < 0) return undefined;
  const value = new Int32Array(3);
  const length = new Uint32Array([value.byteLength]);
  if (libc.getsockopt(fd, SOL_SOCKET, SO_PEERCRED, new Uint8Array(value.buffer), new Uint8Array(length.buffer)) !== 0) return undefined;
  const [pid, uid, gid] = value;
  // A TCP socket answers too, with nobody.
  if (pid === 0) return undefined;
  return { pid: pid!, uid: uid! >>> 0, gid: gid! >>> 0 };
}

export interface UnixGroup {
  name: string;
  gid: number;
  members: string[];
}

/** A group of this machine, from /etc/group; undefined if there is none of that name. */
export function unixGroup(name: string, text: string = readFileSync('/etc/group', 'utf8')): UnixGroup | undefined {
  for (const line of text.split('\n')) {
    const [group, , gid, members] = line.split(':');
    if (group !== name || gid === undefined || !/^\d+$/.test(gid)) continue;
    return { name, gid: Number(gid), members: (members ?? '').split(',').filter((member) => member !== '') };
  }
  return undefined;
}
