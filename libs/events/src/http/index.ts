import { EventsController } from './events.controller.js';

export const eventsControllers: (new (...args: never[]) => object)[] = [EventsController];
