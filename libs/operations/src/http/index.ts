import { HistoryController } from './history.controller.js';
import { OperationsController } from './operations.controller.js';

export const operationsControllers: (new (...args: never[]) => object)[] = [OperationsController, HistoryController];
