import type { ApiRequest, Reply } from '#http-kit';
import type { Reader } from '#replica/state';

/** Nest token of InstanceBackups; given by the subject of backups, which stands above. */
export const INSTANCE_BACKUPS = Symbol('instance-backups');

export interface InstanceBackups {
  /** Documents of the backups of each instance that has any. */
  documents(reader: Reader, ids: readonly number[]): ReadonlyMap<number, object[]>;
}

/** Nest token of InstanceTransfers; absent where that subject is not served. */
export const INSTANCE_TRANSFERS = Symbol('instance-transfers');

/** What creating and renaming hand on to copies, moves and imports. */
export interface InstanceTransfers {
  /** POST /1.0/instances with a backup as its body. */
  importBackup(request: ApiRequest): Promise<Reply>;
  /** POST /1.0/instances with source.type copy or migration; the body is the request's, its type, name and profiles settled as far as given. */
  create(request: ApiRequest, post: Record<string, unknown>): Promise<Reply>;
  /** POST /1.0/instances/NAME that is more than a rename: another pool, project or member, or a migration. */
  move(request: ApiRequest): Promise<Reply>;
  /** POST /1.0/instances/NAME/snapshots/SNAPSHOT with `migration`: the sending side, of a snapshot that becomes an instance elsewhere. */
  sendSnapshot(request: ApiRequest): Promise<Reply>;
}
