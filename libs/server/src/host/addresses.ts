import { networkInterfaces } from 'node:os';

/** The machine's global unicast addresses: those that a client elsewhere may use. */
export function machineAddresses(): string[] {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ address, internal }) => !internal && !/^(fe[89ab]|169\.254\.)/i.test(address))
    .map(({ address }) => address);
}
