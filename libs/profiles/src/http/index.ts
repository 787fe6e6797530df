import { ProfilesController } from './profiles.controller.js';

export * from './rules.js';

export const profilesControllers = [ProfilesController];
