import { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { check, libc } from './libc.js';

const O_CLOEXEC = 0o2000000;
const F_SETPIPE_SZ = 1031;

/** Both ends of a new pipe, close-on-exec. The caller closes them. @throws SystemError */
export function makePipe(sizeBytes?: number): { readFd: number; writeFd: number } {
  const fds = new Int32Array(2);
  check(libc.pipe2(new Uint8Array(fds.buffer), O_CLOEXEC), 'pipe2');
  // A larger pipe means fewer switches between the two programs; the kernel may refuse (pipe-user-pages-soft), which costs speed only.
  if (sizeBytes !== undefined) libc.fcntl(fds[1]!, F_SETPIPE_SZ, sizeBytes);
  return { readFd: fds[0]!, writeFd: fds[1]! };
}

/** The read end of a pipe as a stream with back-pressure, without the thread pool. The stream owns the descriptor from now on. */
export function readerOf(fd: number): Readable {
  return new Socket({ fd, readable: true, writable: false });
}

/** The write end of a pipe as a stream. The stream owns the descriptor; ending it closes the pipe. */
export function writerOf(fd: number): Writable {
  const socket = new Socket({ fd, readable: false, writable: true });
  // shutdown(2) means nothing to a pipe: the other side sees the end when the descriptor is closed.
  socket.once('finish', () => socket.destroy());
  return socket;
}
