import net, { type Socket } from 'node:net';
import { engineServerName } from '#replica';
import { parseListenAddress } from '#server/model';
import { handshakeTimeoutMs } from './limits.js';
import { duplicateOf, peekServerName } from './peek.js';

/** Who else is reached at the port of the API, by the server name of the TLS handshake. */
export interface OnePort {
  /** False while this server stands alone: nothing is looked at then. */
  wanted(): boolean;
  /** For the engine's worker: the descriptor is its own. */
  engine(fd: number): void;
  /** For the calls between members; the bytes of the connection are all unread. */
  services(socket: Socket): void;
}

export const servicesServerName = 'agent.muster';

/** Gives a fresh, paused connection to whom it asks for; everybody else is the API's. */
export async function sortConnection(socket: Socket, port: OnePort, api: (socket: Socket) => void): Promise<void> {
  // Errors of a socket that nobody has yet.
  const onError = (): void => void socket.destroy();
  socket.on('error', onError);
  const name = await peekServerName(socket, handshakeTimeoutMs);
  socket.off('error', onError);
  if (socket.destroyed) return;
  if (name === engineServerName) {
    const fd = duplicateOf(socket);
    if (fd !== undefined) port.engine(fd);
  } else if (name === servicesServerName) {
    socket.setNoDelay(true);
    port.services(socket);
    socket.resume();
  } else {
    api(socket);
    socket.resume();
  }
}

/**
 * Before there is an API: consensus needs to be reached while this member waits for it. Everybody else is turned away. Answers how to end it, or undefined
 * if the address cannot be had; the gateway will say so.
 */
export function listenForEngine(address: string, port: OnePort): Promise<(() => Promise<void>) | undefined> {
  const { host, port: number } = parseListenAddress(address);
  const server = net.createServer({ pauseOnConnect: true }, (socket) => void sortConnection(socket, port, (other) => other.destroy()));
  return new Promise((resolve) => {
    server.once('error', () => resolve(undefined));
    server.listen({ port: number, ...(host === '' ? {} : { host }) }, () => resolve(() => new Promise((closed) => server.close(() => closed()))));
  });
}
