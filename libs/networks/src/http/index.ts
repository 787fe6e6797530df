import { NetworksController } from './networks.controller.js';

export const networksControllers: (new (...args: never[]) => object)[] = [NetworksController];
export { NetworksController };
