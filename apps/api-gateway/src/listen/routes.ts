import 'reflect-metadata';
import { routeOptionsKey, upgradeOptionsKey, type RouteMetadata, type UpgradeOptions } from '#http-kit';
import type { UpgradeHandler } from './upgrades.js';

type Method = (...args: unknown[]) => unknown;

/** What a controller declared with @Route. */
export const routesOf = (controller: object): RouteMetadata[] =>
  methodsOf(controller).flatMap(([, method]) => (Reflect.getMetadata(routeOptionsKey, method) as RouteMetadata | undefined) ?? []);

/** What it declared with @UpgradeRoute. */
export function upgradesOf(controller: object): UpgradeHandler[] {
  return methodsOf(controller).flatMap(([, method]) => {
    const options = Reflect.getMetadata(upgradeOptionsKey, method) as UpgradeOptions | undefined;
    return options ? { ...options, handle: method.bind(controller) as UpgradeHandler['handle'] } : [];
  });
}

function methodsOf(controller: object): [string, Method][] {
  const prototype = Object.getPrototypeOf(controller) as object;
  return Object.entries(Object.getOwnPropertyDescriptors(prototype)).flatMap(([name, { value }]): [string, Method][] =>
    typeof value === 'function' && name !== 'constructor' ? [[name, value as Method]] : [],
  );
}
