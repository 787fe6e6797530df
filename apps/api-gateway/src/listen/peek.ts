import type { Socket } from 'node:net';
import koffi from 'koffi';

const libc = koffi.load('libc.so.6');
const recv = libc.func('long recv(int fd, _Out_ uint8_t *buffer, unsigned long length, int flags)');
const dup = libc.func('int dup(int fd)');
const msgPeek = 0x02;
const msgDontWait = 0x40;

/** With post-quantum keys a hello has some 1,700 bytes; what is longer than this has its name near the front anyway. */
const buffer = Buffer.alloc(4096);
/** The first looks come with the next turns of the loop: a local client's bytes are there by then. Later ones are timed, more and more rarely: a
 * thousand that say nothing must not keep the thread busy. */
const turns = 10;
const pauseMs = (nth: number): number => Math.min(250, 2 * 1.25 ** nth);

const descriptorOf = (socket: Socket): number => (socket as unknown as { _handle?: { fd?: number } | null })._handle?.fd ?? -1;

/**
 * The server name that a TLS client asks for, without taking a byte of what it sent: the connection can still be given to whoever shall have it. The
 * socket must be one of a server with `pauseOnConnect`. Undefined when it asks for none, or is not whole after `timeoutMs`, or speaks no TLS.
 */
export async function peekServerName(socket: Socket, timeoutMs: number): Promise<string | undefined> {
  const until = performance.now() + timeoutMs;
  for (let turn = 0; !socket.destroyed && performance.now() < until; turn++) {
    const fd = descriptorOf(socket);
    if (fd < 0) return undefined;
    const length = Number(recv(fd, buffer, buffer.length, msgPeek | msgDontWait));
    // The client is gone already: whoever gets the socket will find out.
    if (length === 0) return undefined;
    if (length > 0) {
      const hello = buffer.subarray(0, length);
      if (hello[0] !== handshakeRecord) return undefined;
      if (isWhole(hello)) return serverName(hello);
    }
    await new Promise<void>((resolve) => void (turn < turns ? setImmediate(resolve) : setTimeout(resolve, pauseMs(turn - turns))));
  }
  return undefined;
}

/** The connection under another descriptor, for another thread; the socket itself is closed here. Undefined when it is gone. */
export function duplicateOf(socket: Socket): number | undefined {
  const fd = descriptorOf(socket);
  const copy = fd < 0 ? -1 : (dup(fd) as number);
  socket.destroy();
  return copy < 0 ? undefined : copy;
}

const handshakeRecord = 22;
const recordHead = 5;

const isWhole = (bytes: Buffer): boolean =>
  bytes.length >= recordHead && (bytes.length >= recordHead + bytes.readUInt16BE(3) || bytes.length === buffer.length);

/** RFC 8446 §4.1.2, RFC 6066 §3. Anything that is not as it should be has no name. */
function serverName(hello: Buffer): string | undefined {
  try {
    // Record head, handshake head, version and random; then session id, cipher suites, compression methods.
    let at = 43;
    at += 1 + hello.readUInt8(at);
    at += 2 + hello.readUInt16BE(at);
    at += 1 + hello.readUInt8(at);
    const end = at + 2 + hello.readUInt16BE(at);
    for (at += 2; at + 4 <= end;) {
      const [type, length] = [hello.readUInt16BE(at), hello.readUInt16BE(at + 2)];
      if (type === 0) {
        const name = hello.readUInt16BE(at + 7);
        return hello.toString('latin1', at + 9, at + 9 + name);
      }
      at += 4 + length;
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  return undefined;
}
