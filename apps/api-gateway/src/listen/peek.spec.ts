import { once } from 'node:events';
import net, { type AddressInfo, type Socket } from 'node:net';
import tls from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import { duplicateOf, peekServerName } from './peek.js';

let server: net.Server | undefined;
afterEach(() => server?.close());

/** What a client makes of a connection, as the server sees it: nothing of it read. */
async function accepted(connect: (port: number) => void): Promise<Socket> {
  server = net.createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const connection = once(server, 'connection');
  connect((server.address() as AddressInfo).port);
  return ((await connection) as [Socket])[0];
}

describe('the first bytes of a connection', () => {
  it('tell the server name, and are all still there', async () => {
    const socket = await accepted((port) => tls.connect({ port, host: '127.0.0.1', servername: 'engine.muster' }).on('error', () => undefined));
    expect(await peekServerName(socket, 1_000)).toBe('engine.muster');
    const fd = duplicateOf(socket)!;
    expect(socket.destroyed).toBe(true);
    const again = new net.Socket({ fd, readable: true, writable: true });
    const [hello] = (await once(again, 'data')) as [Buffer];
    expect(hello.includes('engine.muster')).toBe(true);
    again.destroy();
  });

  it('tell none where none is asked for, or where it is no TLS', async () => {
    const nameless = await accepted((port) => tls.connect({ port, host: '127.0.0.1' }).on('error', () => undefined));
    expect(await peekServerName(nameless, 1_000)).toBeUndefined();
    nameless.destroy();
    const plain = await accepted((port) =>
      net
        .connect(port, '127.0.0.1')
        .on('error', () => undefined)
        .write('GET / HTTP/1.1\r\n\r\n'),
    );
    expect(await peekServerName(plain, 1_000)).toBeUndefined();
    plain.destroy();
  });

  it('are waited for while they come in pieces, and not for ever', async () => {
    const whole = await accepted((port) => {
      const client = net.connect(port, '127.0.0.1').on('error', () => undefined);
      client.on('connect', () => {
        // A record of 3 bytes that is announced as 512.
        client.write(Buffer.from([22, 3, 1, 2, 0, 1, 0, 1]));
      });
    });
    const began = performance.now();
    expect(await peekServerName(whole, 80)).toBeUndefined();
    expect(performance.now() - began).toBeGreaterThan(70);
    whole.destroy();
  });

  it('never come from one that is gone', async () => {
    const gone = await accepted((port) => net.connect(port, '127.0.0.1').end());
    expect(await peekServerName(gone, 1_000)).toBeUndefined();
    gone.destroy();
  });
});
