import type { ApiRequest } from '#http-kit';
import { effectiveProject } from '#projects/state';
import type { Reader } from '#replica/state';
import { parseVolumeType, type VolumeRef, type VolumeType } from '../model/index.js';

/** The project in which volumes of a type live when asked for in `project`: custom ones share default's without the feature, images are in default. */
export function volumeProject(reader: Reader, project: string, type: VolumeType): string {
  if (type === 'image') return 'default';
  return type === 'custom' ? effectiveProject(reader, project, 'features.storage.volumes') : project;
}

/** The volume that a request's path names. @throws Fault invalid, notFound (project) */
export function addressed(reader: Reader, request: ApiRequest): VolumeRef {
  const type = parseVolumeType(request.params.type!);
  return { pool: request.params.pool!, project: volumeProject(reader, request.project, type), type, name: request.params.name! };
}
