import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { schema } from '#apps/member-agent';
import type { KeyPair } from '#identities/host';
import { createProject } from '#projects/state';
import { internalIdentity } from '#replica/state';
import { TestGateway } from '#testkit/gateway';
import { controllers, providers } from './app.js';
import { routesOf, upgradesOf } from './listen/routes.js';

/**
 * Every route of every wing is asked by callers that may not call it: the list is the routes themselves, so that a new one is asked too. What guests may
 * call stands here with what they get, and nowhere else: a new guest route fails until somebody says what a guest is answered.
 */
const guests: Record<string, { path?: string; body?: unknown; status: number; error?: string }> = {
  // Who lets it in is this member's agent, which is not served here.
  'POST /internal/cluster/admit': { status: 503 },
  'GET /': { status: 200 },
  'GET /1.0': { status: 200 },
  'POST /1.0/certificates': { body: { type: 'client', password: 'guess' }, status: 403, error: 'not authorized' },
  // Public ones only: here there are none. The rest of the path is an alias's name.
  'GET /1.0/images': { status: 200 },
  'GET /1.0/images/:fingerprint': { status: 404, error: 'Image not found' },
  'GET /1.0/images/:fingerprint/export': { status: 404, error: 'Image not found' },
  'GET /1.0/images/aliases/*': { status: 404, error: 'Image alias not found' },
  // An upload needs a secret that was given out for it.
  'POST /1.0/images': { body: {}, status: 403, error: 'not authorized' },
  // The secret is the authority.
  'GET /1.0/operations/:id/wait': { status: 403 },
};

let gateway: TestGateway;
let restricted: KeyPair;
const filled = (path: string): string => path.replace(/:\w+/g, 'x');

beforeAll(async () => {
  const own = new Set(['identities', 'projects', 'server', 'cluster']);
  gateway = await TestGateway.open({ controllers, providers, wings: schema.filter(({ subject }) => !own.has(subject)), https: true });
  for (const name of ['mine', 'foreign']) {
    await gateway.replica.submit(createProject, { name, description: '', config: {} }, { identity: internalIdentity });
  }
  restricted = await gateway.client(['mine']);
});
afterAll(() => gateway[Symbol.asyncDispose]());

const declared = (of: (controller: object) => { access: string; method?: string; path: string }[]): ReturnType<typeof of> =>
  controllers.flatMap((controller) => of(Object.create(controller.prototype as object) as object));
const routes = declared(routesOf) as { access: string; method: string; path: string }[];

describe('a guest', () => {
  it.each(routes.filter(({ access }) => access !== 'guest'))('is refused: $method $path', async ({ method, path }) => {
    const { status, body } = await gateway.call(method, filled(path), { as: 'guest', ...(method === 'GET' ? {} : { body: {} }) });
    expect({ status, error: method === 'HEAD' ? 'not authorized' : body.error }).toEqual({ status: 403, error: 'not authorized' });
  });

  it.each(routes.filter(({ access }) => access === 'guest'))('gets what is meant for guests: $method $path', async ({ method, path }) => {
    const expected = guests[`${method} ${path}`];
    expect(expected, `${method} ${path} has no expectation for guests`).toBeDefined();
    const { status, body } = await gateway.call(method, filled(path), { as: 'guest', body: expected!.body });
    expect(status).toBe(expected!.status);
    if (expected!.error) expect(body.error).toBe(expected!.error);
  });

  it('has no stale entry in the list above', () => {
    expect(Object.keys(guests).filter((known) => !routes.some(({ method, path }) => `${method} ${path}` === known))).toEqual([]);
  });

  it.each(declared(upgradesOf))('cannot take over a connection: $path', async ({ path, access }) => {
    const headers = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==', 'sec-websocket-version': '13' };
    const { status } = await gateway.call('GET', filled(path), { as: 'guest', headers });
    // Operations are open to guests who bring the right secret.
    expect([403, ...(access === 'guest' ? [400, 404, 500] : [])]).toContain(status);
  });
});

describe('a restricted caller', () => {
  const confined = routes.filter(({ access }) => access === 'project' || access === 'admin' || access === 'local');

  it.each(confined)('is refused a foreign project: $method $path', async ({ method, path }) => {
    const { status } = await gateway.call(method, `${filled(path)}?project=foreign`, { as: restricted, ...(method === 'GET' ? {} : { body: {} }) });
    expect(status).toBe(403);
  });

  it.each(routes.filter(({ access, method }) => access === 'trusted' && method === 'GET'))(
    'learns nothing of a foreign project: $method $path',
    async ({ path }) => {
      for (const query of ['project=foreign', 'all-projects=true', 'recursion=1&all-projects=true']) {
        const { text, status } = await gateway.call('GET', `${filled(path)}?${query}`, { as: restricted });
        // The agents of most subjects are not served here: 503.
        // LXD's status for a cluster that there is not.
        if (!path.startsWith('/1.0/cluster/')) expect(status).not.toBe(500);
        // Its own query comes back in the environment of GET /1.0.
        expect(text.replace('"project":"foreign"', '')).not.toContain('foreign');
      }
    },
  );
});
