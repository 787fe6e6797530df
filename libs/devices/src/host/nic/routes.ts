import { ipBatch, ipMaybe } from '#networks/host';
import { splitList } from '#networks/model';
import type { Device } from '../device-driver.js';

/** Networks that the host sends to this nic. */
export const routesOf = (device: Device): string[] =>
  ['ipv4.routes', 'ipv6.routes', 'ipv4.routes.external', 'ipv6.routes.external'].flatMap((key) => splitList(device[key]));

/** The `ip` command that adds one. Protocol `boot`, so that they are told from those of the network itself, which are `static`. */
export const routeWords = (link: string, route: string): string[] => ['route', 'add', route, 'dev', link, 'proto', 'boot'];

export const addRoutes = (link: string, routes: readonly string[]): Promise<void> =>
  ipBatch(
    routes.map((route) => routeWords(link, route)),
    'Could not add the routes of a nic',
  );

/** Routes that are not there are no error. */
export async function removeRoutes(link: string, routes: readonly string[]): Promise<void> {
  for (const route of routes) await ipMaybe(['route', 'delete', route, 'dev', link, 'proto', 'boot']);
}
