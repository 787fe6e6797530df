import { clusterState } from '#cluster/state';
import { identitiesState } from '#identities/state';
import { imagesState } from '#images/state';
import { instancesState } from '#instances/state';
import { networksState } from '#networks/state';
import { profilesState } from '#profiles/state';
import { projectsState } from '#projects/state';
import type { StateWing } from '#replica/state';
import { serverState } from '#server/state';
import { storageState } from '#storage/state';
import { transferState } from '#transfer/state';
import { warningsState } from '#warnings/state';
import './member-removal.js';

/**
 * All state wings, from the ground up: entities, migrations and commands of the replica. The order is that of the migrations of a new database; in an
 * old one each runs when it is new.
 */
export const schema: readonly StateWing[] = [
  identitiesState,
  projectsState,
  serverState,
  warningsState,
  clusterState,
  profilesState,
  networksState,
  storageState,
  imagesState,
  instancesState,
  transferState,
];
