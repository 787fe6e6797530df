import { WarningsController } from './warnings.controller.js';

export const warningsControllers: (new (...args: never[]) => object)[] = [WarningsController];
