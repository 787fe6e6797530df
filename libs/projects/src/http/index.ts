import { ProjectsController } from './projects.controller.js';

export * from './usage.js';

export const projectsControllers = [ProjectsController];
