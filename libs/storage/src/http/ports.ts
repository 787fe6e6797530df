import type { ApiRequest, Reply } from '#http-kit';
import type { VolumeRef } from '../model/index.js';

/** Nest token of VolumeTransfers; absent where that subject is not served. */
export const VOLUME_TRANSFERS = Symbol('volume-transfers');

/** What creating and moving custom volumes hand on to migrations and imports, which stand above. */
export interface VolumeTransfers {
  /** A backup as the request's body; the volume's name is '' unless the request gives one. */
  importBackup(request: ApiRequest, volume: VolumeRef): Promise<Reply>;
  /** source.type migration; `exists` only for a refresh. */
  receive(request: ApiRequest, volume: VolumeRef, exists: boolean): Promise<Reply>;
  /** The sending side. */
  send(request: ApiRequest, volume: VolumeRef): Promise<Reply>;
}
