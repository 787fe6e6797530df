import { formatAddress, ipFamily, parseListenAddress } from './address.js';

/**
 * Where clients reach a server that listens on `address`, each with its port: the address itself, or for "all addresses" those of the machine.
 * @param machine global unicast addresses of the machine
 */
export function listenAddresses(address: string, machine: readonly string[]): string[] {
  if (address === '') return [];
  const { host, port } = parseListenAddress(address);
  if (host !== '' && host !== '0.0.0.0' && host !== '::') return [formatAddress(host, port)];
  return machine.filter((one) => host !== '0.0.0.0' || ipFamily(one) === 4).map((one) => formatAddress(one, port));
}
