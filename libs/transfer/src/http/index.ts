import { instanceBackupsControllers } from './instance-backups.controller.js';
import { VolumeBackupsController } from './volume-backups.controller.js';

export { instanceBackups, Transfers } from './transfers.js';

export const transferControllers: (new (...args: never[]) => object)[] = [...instanceBackupsControllers, VolumeBackupsController];
