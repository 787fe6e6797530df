import { filesController } from './files.controller.js';
import { instancesController } from './instances.controller.js';
import { sessionsController } from './sessions.controller.js';
import { sftpController } from './sftp.controller.js';
import { snapshotsController } from './snapshots.controller.js';
import { trees } from './trees.js';

export * from './ports.js';
export { instanceProfileRules } from './profile-rules.js';
export { InstanceViews } from './views.js';

export const instancesControllers = trees.flatMap((tree) => [
  instancesController(tree),
  sessionsController(tree),
  filesController(tree),
  sftpController(tree),
  snapshotsController(tree),
]);
