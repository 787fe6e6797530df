import { describe, expect, it } from 'vitest';
import { apiExtensions } from '#api-contract';
import { listenAddresses, parseExpiry, parseListenAddress, serverKeys } from './index.js';

describe('parseListenAddress', () => {
  it.each([
    ['127.0.0.1', '127.0.0.1', 8443],
    ['127.0.0.1:1', '127.0.0.1', 1],
    [':9000', '', 9000],
    ['::1', '::1', 8443],
    ['[::]:9', '::', 9],
    ['[::1]', '::1', 8443],
    ['host.example:0', 'host.example', 0],
  ])('takes %s', (text, host, port) => expect(parseListenAddress(text)).toEqual({ host, port }));

  it.each(['1.2.3', '1.2.3.4:99999', '[1.2.3.4]:1', 'a b', 'http://x:1', '::1:x', '[::1'])('refuses %s', (text) =>
    expect(() => parseListenAddress(text)).toThrow(/Invalid/),
  );
});

describe('listenAddresses', () => {
  const machine = ['10.0.0.1', 'fd00::1'];

  it('are the machine’s own where the server listens everywhere', () => {
    expect(listenAddresses(':8443', machine)).toEqual(['10.0.0.1:8443', '[fd00::1]:8443']);
    expect(listenAddresses('0.0.0.0:1', machine)).toEqual(['10.0.0.1:1']);
    expect(listenAddresses('127.0.0.1', machine)).toEqual(['127.0.0.1:8443']);
    expect(listenAddresses('', machine)).toEqual([]);
  });
});

describe('parseExpiry', () => {
  it('adds words of a number and a unit', () => {
    expect(parseExpiry('1d 2H 3M', new Date(0)).toISOString()).toBe('1970-01-02T02:03:00.000Z');
    expect(parseExpiry('1m 1y', new Date(0)).toISOString()).toBe('1971-02-01T00:00:00.000Z');
    for (const wrong of ['', '1', 'H', '1h', '-1H', '1H;']) expect(() => parseExpiry(wrong, new Date(0))).toThrow('Invalid expiry expression');
  });
});

describe('serverKeys', () => {
  it('each come with an extension that is declared', () => {
    const unknown = Object.values(serverKeys.definitions).filter(({ since }) => since !== 'core' && !(since in apiExtensions));
    expect(unknown.map(({ since, doc }) => `${since}: ${doc.short}`)).toEqual([]);
  });
});
