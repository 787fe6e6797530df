import { fault } from '#kit';

/** Kinds of volumes, as the API writes them. */
export const volumeTypes = ['container', 'virtual-machine', 'image', 'custom'] as const;
export type VolumeType = (typeof volumeTypes)[number];

/** What is inside: files, or a block device of which we know nothing. */
export const contentTypes = ['filesystem', 'block'] as const;
export type ContentType = (typeof contentTypes)[number];

/** A volume as the API names it. For images `name` is the fingerprint and the project is always `default`: a cache belongs to nobody. */
export interface VolumeRef {
  pool: string;
  project: string;
  type: VolumeType;
  name: string;
}

/** @throws Fault invalid */
export function parseVolumeType(text: string): VolumeType {
  const type = volumeTypes.find((known) => known === text);
  if (!type) throw fault.invalid('Invalid storage volume type name');
  return type;
}

/** '' is filesystem, as clients older than block volumes send it. @throws Fault invalid */
export function parseContentType(text: string): ContentType {
  if (text === '') return 'filesystem';
  const type = contentTypes.find((known) => known === text);
  if (!type) throw fault.invalid('Invalid volume content type name');
  return type;
}

export const isInstanceVolume = (type: VolumeType): boolean => type === 'container' || type === 'virtual-machine';

/** One key for locks and maps: equal for equal volumes. Names hold no slash, so that parts cannot run together. */
export const volumeKey = (volume: VolumeRef): string => `${volume.pool}/${volume.type}/${volume.project}/${volume.name}`;
