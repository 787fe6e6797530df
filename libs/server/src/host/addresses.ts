import { networkInterfaces } from 'node:os';

const keptMs = 2_000;
let known: { at: number; addresses: string[] } | undefined;

/** The machine's global unicast addresses: those that a client elsewhere may use. Looked up again after two seconds: it costs more than a whole request. */
export function machineAddresses(): string[] {
  const now = performance.now();
  if (!known || now - known.at > keptMs) known = { at: now, addresses: look() };
  return known.addresses;
}

function look(): string[] {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ address, internal }) => !internal && !/^(fe[89ab]|169\.254\.)/i.test(address))
    .map(({ address }) => address);
}
