import { type Members, StorageAgentService } from '#members';
import { internalIdentity, type Reader } from '#replica/state';
import type { EnvironmentPart } from '#server/host';
import { pools } from '#storage/state';

/** What GET /1.0 says of storage: the drivers that this host has, and those in use with their versions. */
export function storageEnvironment(members: Members, reader: Reader): EnvironmentPart {
  return async () => {
    const { drivers } = await members.calls(StorageAgentService).storageStatus({}, { identity: internalIdentity, requestId: '', timeoutMs: 5_000 });
    const used = [...new Set(pools(reader).map(({ driver }) => driver))].sort();
    const versionOf = (name: string): string => drivers.find((driver) => driver.name === name)?.version ?? '';
    return {
      storage: used.join(' | '),
      storage_version: used.map(versionOf).join(' | '),
      storage_supported_drivers: drivers.map(({ name, version, remote }) => ({ Name: name, Version: version, Remote: remote })),
    };
  };
}
