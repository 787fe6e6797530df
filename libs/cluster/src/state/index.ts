import type { StateWing } from '#replica/state';
import * as group from './group-commands.js';
import * as member from './member-commands.js';
import { ClusterGroupMemberRow, ClusterGroupRow, ClusterMemberRow, clusterMigrations } from './tables.js';

export * from './group-commands.js';
export * from './member-commands.js';
export { onMemberRemoval, type MemberRemovalStep } from './member-removal.js';
export * from './queries.js';

export const clusterState: StateWing = {
  subject: 'cluster',
  entities: [ClusterMemberRow, ClusterGroupRow, ClusterGroupMemberRow],
  migrations: clusterMigrations,
  commands: [
    member.enableCluster,
    member.admitMember,
    member.memberJoined,
    member.updateMember,
    member.renameMember,
    member.removeMember,
    member.assignRoles,
    member.setMemberState,
    group.createGroup,
    group.updateGroup,
    group.renameGroup,
    group.deleteGroup,
  ],
};
