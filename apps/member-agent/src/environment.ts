import type { Clock } from '#kit';
import { type Members, StorageAgentService } from '#members';
import { internalIdentity, type Reader } from '#replica/state';
import type { EnvironmentPart } from '#server/host';
import { pools } from '#storage/state';

/** Drivers are probed by running programs, and GET /1.0 is what every client asks first: what was found holds this long. */
const probedForMs = 30_000;

/** What GET /1.0 says of storage: the drivers that this host has, and those in use with their versions. */
export function storageEnvironment(members: Members, reader: Reader, clock: Clock): EnvironmentPart {
  const probe = async (): Promise<Driver[]> =>
    (await members.calls(StorageAgentService).storageStatus({}, { identity: internalIdentity, requestId: '', timeoutMs: 5_000 })).drivers;
  let probed: { atMs: number; drivers: Promise<Driver[]> } | undefined;
  return async () => {
    const now = clock.monotonicMs();
    if (!probed || now - probed.atMs > probedForMs) probed = { atMs: now, drivers: probe() };
    const drivers = await probed.drivers.catch((error: unknown) => {
      probed = undefined;
      throw error;
    });
    const used = [...new Set(pools(reader).map(({ driver }) => driver))].sort();
    const versionOf = (name: string): string => drivers.find((driver) => driver.name === name)?.version ?? '';
    return {
      storage: used.join(' | '),
      storage_version: used.map(versionOf).join(' | '),
      storage_supported_drivers: drivers.map(({ name, version, remote }) => ({ Name: name, Version: version, Remote: remote })),
    };
  };
}

interface Driver {
  name: string;
  version: string;
  remote: boolean;
}
