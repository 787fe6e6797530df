import { isTrue } from '#config-keys';
import type { ReadPort, WatchPort } from '#replica';
import type { Reader } from '#replica/state';
import { serverKeys, type Config } from '../model/index.js';

/** The global keys that are set, secrets as they are kept. */
export function serverConfig(reader: Reader): Config {
  const rows = reader.all<{ key: string; value: string }>('SELECT key, value FROM server_config ORDER BY key');
  return Object.fromEntries(rows.map(({ key, value }) => [key, value]));
}

/** The value in force of a global key: the one set, or its default, or ''. */
export function serverValue(reader: Reader, key: string): string {
  const row = reader.get<{ value: string }>('SELECT value FROM server_config WHERE key = ?', key);
  return row?.value ?? serverKeys.find(key)?.default ?? '';
}

/** A global key's value, read when first asked for and again after the configuration changed: for what every request looks at. */
export function watchedValue(replica: ReadPort & WatchPort, key: string): Disposable & { get: () => string } {
  let value: string | undefined;
  const watch = replica.watch(({ touched }) => {
    if (touched === 'everything' || touched.some(({ table }) => table === 'server_config')) value = undefined;
  });
  return { get: () => (value ??= serverValue(replica.reader, key)), [Symbol.dispose]: () => watch[Symbol.dispose]() };
}

export function metricsNeedTrust(replica: ReadPort & WatchPort): Disposable & { get: () => boolean } {
  const value = watchedValue(replica, 'core.metrics_authentication');
  return { get: () => isTrue(value.get(), true), [Symbol.dispose]: () => value[Symbol.dispose]() };
}
