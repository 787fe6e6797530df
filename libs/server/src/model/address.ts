import ipaddr from 'ipaddr.js';
import { fault } from '#kit';

/** 4, 6, or 0 for what is no address. */
export const ipFamily = (text: string): 0 | 4 | 6 =>
  ipaddr.IPv4.isValidFourPartDecimal(text) ? 4 : text.includes(':') && !text.includes('%') && ipaddr.IPv6.isValid(text) ? 6 : 0;

export const defaultHttpsPort = 8443;

/**
 * `host`, `host:port`, `:port`, `[v6]`, `[v6]:port`, `v6`: what core.https_address takes. An empty host means all addresses, of both families.
 * @throws Fault invalid
 */
export function parseListenAddress(text: string, defaultPort = defaultHttpsPort): { host: string; port: number } {
  const bare = ipFamily(text) === 6 ? { host: text, port: '' } : undefined;
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(\d{1,5}))?$/.exec(text);
  if (!bare && !match) throw fault.invalid(`Invalid listen address "${text}"`);
  const host = bare?.host ?? match![1] ?? match![2] ?? '';
  if (match?.[1] !== undefined && match[1] !== '' && ipFamily(match[1]) !== 6) throw fault.invalid(`Invalid IPv6 address "${match[1]}"`);
  if (host !== '' && ipFamily(host) === 0 && !/^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$/.test(host))
    throw fault.invalid(`Invalid listen address "${text}"`);
  if (/^[\d.]+$/.test(host) && ipFamily(host) === 0) throw fault.invalid(`Invalid IPv4 address "${host}"`);
  const port = Number(bare?.port || match?.[3] || defaultPort);
  if (port > 65535) throw fault.invalid(`Invalid port number "${port}"`);
  return { host, port };
}

export const formatAddress = (host: string, port: number): string => (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`);
