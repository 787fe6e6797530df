import { isTrue } from '#config-keys';
import { memberOfOperation } from '#operations/model';
import type { Reader } from '#replica/state';

/** What of a request says where it belongs. */
export interface Asked {
  method: string;
  /** Decoded parts of the path behind `/1.0`. */
  parts: readonly string[];
  query: URLSearchParams;
}

/**
 * Where a request belongs: with the member of that id or name, or with whom the scheduler chooses. `here`: any member can answer it from its own replica,
 * or its controllers know better.
 */
export type Whose = 'here' | { readonly id: number } | { readonly name: string } | { readonly place: string };

const trees = new Set(['instances', 'containers', 'virtual-machines']);
const isGroup = (target: string): boolean => target.startsWith('@');

/** The path of the API in parts; undefined for what is none, or is no URL. */
export function partsOf(path: string): string[] | undefined {
  if (!path.startsWith('/1.0')) return undefined;
  try {
    return path.split('/').slice(2).filter(Boolean).map(decodeURIComponent);
  } catch {
    return undefined;
  }
}

/** Whether it is worth asking at all: most requests are anybody's, and pay nothing for forwarding. */
export function mayBelongElsewhere({ method, parts, query }: Asked): boolean {
  const [first, second] = parts;
  if (first === 'operations') return second !== undefined;
  if (first !== undefined && trees.has(first)) return second !== undefined || method === 'POST';
  if (first === 'cluster') return parts[3] === 'state';
  if (first === 'images') return parts[2] === 'export';
  if (first === 'storage-pools' && parts[2] === 'volumes' && parts[4] !== undefined) return true;
  return query.has('target');
}

/** By the replica as it is now. */
export function whose({ method, parts, query }: Asked, reader: Reader, self: number): Whose {
  const [first, second] = parts;
  const target = query.get('target') ?? '';
  const project = query.get('project') || 'default';
  if (first === 'operations') return byId(memberOfOperation(second ?? ''));
  if (first === 'cluster') return { name: parts[2] ?? '' };
  if (first !== undefined && trees.has(first)) {
    if (second !== undefined) return ofInstance(method, parts, query, reader, project);
    return target === '' || isGroup(target) ? { place: target } : { name: target };
  }
  if (target !== '' && !isGroup(target)) return { name: target };
  if (first === 'images') return ofImage(second ?? '', reader, self);
  if (first === 'storage-pools') return ofVolume(parts, reader, project, self);
  return 'here';
}

function ofInstance(method: string, parts: readonly string[], query: URLSearchParams, reader: Reader, project: string): Whose {
  const plain = parts.length === 2 && !(Number(query.get('recursion') ?? 0) > 0);
  // What the replica knows is answered where it is asked, also while the owner is away.
  if (method === 'GET' && (plain || (parts[2] === 'snapshots' && !isTrue(query.get('live') ?? '')))) return 'here';
  const row = reader.get<{ member_id: number }>('SELECT member_id FROM instances WHERE project = ? AND name = ?', project, parts[1] ?? '');
  return byId(row?.member_id);
}

/** Its files are where they are: here, if they are here too. */
function ofImage(fingerprint: string, reader: Reader, self: number): Whose {
  const rows = reader.all<{ member_id: number }>(
    'SELECT member_id FROM images_members WHERE fingerprint LIKE ? ORDER BY member_id',
    `${fingerprint}%`,
  );
  return rows.length === 0 || rows.some(({ member_id }) => member_id === self) ? 'here' : byId(rows[0]?.member_id);
}

function ofVolume([, pool, , type, name]: readonly string[], reader: Reader, project: string, self: number): Whose {
  const rows = reader.all<{ member_id: number }>(
    `SELECT v.member_id FROM storage_volumes v JOIN storage_pools p ON p.id = v.pool_id
      WHERE p.name = ? AND v.type = ? AND v.name = ? AND v.project IN (?, 'default') ORDER BY v.project <> ?`,
    pool ?? '',
    volumeType(type ?? ''),
    name ?? '',
    project,
    project,
  );
  const here = rows.length === 0 || rows.some(({ member_id }) => member_id === self || member_id === 0);
  return here ? 'here' : byId(rows[0]?.member_id);
}

const volumeType = (type: string): string => (type === 'virtual-machine' || type === 'container' || type === 'image' ? type : 'custom');
const byId = (id: number | undefined): Whose => (id === undefined ? 'here' : { id });
