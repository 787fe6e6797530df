import { ClusterController } from './cluster.controller.js';
import { GroupsController } from './groups.controller.js';
import { ClusterInternalController } from './internal.controller.js';
import { MembersController } from './members.controller.js';

export { memberDocument, type ClusterMemberDocument } from './documents.js';
export * from './member-config.js';

export const clusterControllers = [ClusterController, MembersController, GroupsController, ClusterInternalController];
