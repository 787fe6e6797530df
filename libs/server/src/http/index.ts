import { InternalController } from './internal.controller.js';
import { ResourcesController } from './resources.controller.js';
import { ServerController } from './server.controller.js';
import { TestingController } from './testing.controller.js';

export { SQL_BRIDGE, serverViews, type SqlBridge, type SqlWrite } from './global-sql.js';

export const serverControllers = [ServerController, ResourcesController, InternalController, TestingController];
