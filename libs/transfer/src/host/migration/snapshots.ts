import type { DevicesMap } from '#api-contract';
import type { SnapshotRecord } from '#instances/state';
import type { MigrationIdRange, MigrationKeyValue, MigrationSnapshot } from '#members';
import { type Idmap, idmapToJson } from '#host-kit';

/** LXD's numbers of architectures. */
const architectures = [
  '',
  'i686',
  'x86_64',
  'armv7l',
  'aarch64',
  'ppc',
  'ppc64',
  'ppc64le',
  's390x',
  'mips',
  'mips64',
  'riscv32',
  'riscv64',
  'armv6l',
  'armv8l',
];
/** The zero time of Go, in seconds: never. */
const never = -62_135_596_800;

/** A snapshot of an instance as it is offered. */
export const offeredSnapshot = (
  snapshot: SnapshotRecord,
  { architecture, profiles }: { architecture: string; profiles: readonly string[] },
): MigrationSnapshot => ({
  name: snapshot.name,
  config: keyValues(snapshot.config),
  profiles: [...profiles],
  ephemeral: snapshot.ephemeral,
  devices: Object.entries(snapshot.devices).map(([name, device]) => ({ name, config: keyValues(device) })),
  architecture: Math.max(0, architectures.indexOf(architecture)),
  stateful: snapshot.stateful,
  createdAt: secondsOf(snapshot.createdAt),
  lastUsedAt: never,
  expiresAt: snapshot.expiresAt === '' ? never : secondsOf(snapshot.expiresAt),
});

/** A snapshot of a custom volume: only its name and config mean something. */
export const offeredVolumeSnapshot = (name: string, config: Record<string, string>): MigrationSnapshot => ({
  name,
  config: keyValues(config),
  profiles: [],
  ephemeral: false,
  devices: [],
  architecture: 0,
  stateful: false,
  createdAt: 0,
  lastUsedAt: 0,
  expiresAt: 0,
});

/** What an offer says of a snapshot of an instance. */
export interface SnapshotOffer {
  name: string;
  config: Record<string, string>;
  devices: DevicesMap;
  ephemeral: boolean;
  createdAt: Date;
  /** '' or RFC 3339. */
  expiresAt: string;
}

export const snapshotOffer = (one: MigrationSnapshot, now: Date): SnapshotOffer => ({
  name: one.name ?? '',
  config: mapOf(one.config),
  devices: Object.fromEntries(one.devices.map(({ name, config }) => [name ?? '', mapOf(config)])),
  ephemeral: one.ephemeral ?? false,
  createdAt: one.createdAt ? new Date(one.createdAt * 1000) : now,
  expiresAt: (one.expiresAt ?? 0) > 0 ? new Date(one.expiresAt! * 1000).toISOString() : '',
});

export const offeredIdmap = (idmap: Idmap): MigrationIdRange[] =>
  idmap.map(({ isUid, isGid, hostId, nsId, range }) => ({ isUid, isGid, hostId, nsId, range }));

/** For volatile.last_state.idmap: the ids on the disk are the sender's until the next start. */
export const idmapOffer = (ranges: readonly MigrationIdRange[]): string =>
  idmapToJson(ranges.map(({ isUid = false, isGid = false, hostId = 0, nsId = 0, range = 0 }) => ({ isUid, isGid, hostId, nsId, range })));

const keyValues = (map: Record<string, string>): MigrationKeyValue[] => Object.entries(map).map(([key, value]) => ({ key, value }));
const mapOf = (list: readonly MigrationKeyValue[]): Record<string, string> =>
  Object.fromEntries(list.map(({ key, value }) => [key ?? '', value ?? '']));
const secondsOf = (time: string): number => Math.floor(Date.parse(time) / 1000);
