import { chmodSync, chownSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import type { Server } from 'node:http';
import { fault } from '#kit';
import { groupId } from '../caller/users.js';

/** The longest path of a unix socket, its final zero byte not counted. */
const pathBytesMax = 107;

/** Listens on a unix socket of mode 0660, for root and `group`. A socket file that nobody serves any more is taken over. @throws Fault */
export async function listenUnix(server: Server, path: string, group?: string): Promise<void> {
  if (Buffer.byteLength(path) > pathBytesMax) throw fault.invalid(`The path of the socket is longer than ${pathBytesMax} bytes: ${path}`);
  const gid = group === undefined || group === '' ? undefined : groupId(group);
  if (group && gid === undefined) throw fault.invalid(`There is no group ${JSON.stringify(group)} for the socket`);
  if (await isServed(path)) throw fault.conflict(`Something is listening on ${path} already`);
  rmSync(path, { force: true });
  await new Promise<void>((resolve, reject) => {
    // Bound with the mode of its owner alone, so that nobody gets in before the group is set.
    const umask = process.umask(0o177);
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
    process.umask(umask);
  });
  if (gid !== undefined) chownSync(path, process.getuid?.() ?? 0, gid);
  chmodSync(path, 0o660);
}

function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}
