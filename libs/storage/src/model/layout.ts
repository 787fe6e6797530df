import type { VolumeRef, VolumeType } from './volumes.js';

/**
 * Where things lie under the state directory. LXD's layout, because tools and people look there (upstream-suites: direct peeks under LXD_DIR):
 * storage-pools/POOL/containers/[project_]NAME, …-snapshots/[project_]NAME/SNAPSHOT, and links containers/[project_]NAME and snapshots/[project_]NAME.
 */
const directories: Record<VolumeType, { live: string; snapshots: string }> = {
  container: { live: 'containers', snapshots: 'containers-snapshots' },
  'virtual-machine': { live: 'virtual-machines', snapshots: 'virtual-machines-snapshots' },
  image: { live: 'images', snapshots: 'images-snapshots' },
  custom: { live: 'custom', snapshots: 'custom-snapshots' },
};

/** Directories that every mounted pool has. */
export const poolDirectories: readonly string[] = [
  'containers',
  'containers-snapshots',
  'custom',
  'custom-snapshots',
  'images',
  'virtual-machines',
  'virtual-machines-snapshots',
];

/** `name` in the default project, `project_name` in others: instances and their directories. */
export const prefixedName = (project: string, name: string): string => (project === 'default' ? name : `${project}_${name}`);

/** The volume's name inside its pool: custom volumes always bear their project, instances only outside default, images never. */
export function nameOnDisk(volume: Pick<VolumeRef, 'project' | 'type' | 'name'>): string {
  if (volume.type === 'custom') return `${volume.project}_${volume.name}`;
  if (volume.type === 'image') return volume.name;
  return prefixedName(volume.project, volume.name);
}

export const poolPath = (stateDir: string, pool: string): string => `${stateDir}/storage-pools/${pool}`;
export const loopFilePath = (stateDir: string, pool: string): string => `${stateDir}/disks/${pool}.img`;

export const liveDirectory = (type: VolumeType): string => directories[type].live;
export const snapshotsDirectory = (type: VolumeType): string => directories[type].snapshots;

/** STATE/containers/[project_]NAME or STATE/virtual-machines/…: a link to the volume, wherever its pool is. */
export const instanceLinkPath = (stateDir: string, volume: VolumeRef): string =>
  `${stateDir}/${directories[volume.type].live}/${prefixedName(volume.project, volume.name)}`;

/** STATE/snapshots/[project_]NAME (containers) or STATE/virtual-machines-snapshots/…: a link to the directory of its snapshots. */
export const snapshotsLinkPath = (stateDir: string, volume: VolumeRef): string =>
  `${stateDir}/${volume.type === 'container' ? 'snapshots' : 'virtual-machines-snapshots'}/${prefixedName(volume.project, volume.name)}`;
