import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { warnings, warningsState } from '#warnings/state';
import { TestGateway } from '#testkit/gateway';
import { SQL_BRIDGE, serverControllers, type SqlBridge } from './index.js';

const bridge: SqlBridge = { views: {}, writes: [], entityUrl: (_reader, code, id) => (code === 1 && id === 7 ? '/1.0/images/abc' : undefined) };

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await TestGateway.open({
    controllers: serverControllers,
    wings: [warningsState],
    providers: [{ provide: SQL_BRIDGE, useValue: bridge }],
  });
});
afterAll(() => gateway[Symbol.asyncDispose]());

describe('POST /internal/testing/warnings', () => {
  const warn = async (body: object): Promise<number> => (await gateway.call('POST', '/internal/testing/warnings', { body })).status;
  const global = { location: '', project: '', entity_type_code: -1, entity_id: -1, type_code: 0, message: 'global warning' };

  it('makes a warning, and counts it when it comes again', async () => {
    expect([await warn(global), await warn(global)]).toEqual([200, 200]);
    expect(warnings(gateway.replica.reader)).toMatchObject([{ message: 'global warning', count: 2 }]);
  });

  it('is about an entity that is there', async () => {
    expect(await warn({ ...global, entity_type_code: 1, entity_id: 7 })).toBe(200);
    expect(await warn({ ...global, entity_type_code: 1, entity_id: 8 })).toBe(500);
    expect(await warn({ ...global, entity_type_code: 99, entity_id: 1 })).toBe(500);
    expect(await warn({ ...global, project: 'nope' })).toBe(500);
    expect(
      warnings(gateway.replica.reader)
        .map(({ entityUrl }) => entityUrl)
        .sort(),
    ).toEqual(['', '/1.0/images/abc']);
  });
});

describe('PUT /internal/shutdown', () => {
  it('is answered after everything has stopped, over the socket that then closes', async () => {
    const events: string[] = [];
    gateway.context.server.shutdown = async () => {
      gateway.running.setPhase('stopping');
      await new Promise((resolve) => setTimeout(resolve, 50));
      events.push('stopped');
      setImmediate(() => void gateway.running.close(2_000).then(() => events.push('closed')));
    };
    const { status } = await gateway.call('PUT', '/internal/shutdown?force=false');
    events.push('answered');
    expect(status).toBe(200);
    await expect.poll(() => events).toEqual(['stopped', 'answered', 'closed']);
    await expect(gateway.call('GET', '/1.0')).rejects.toThrow(/ENOENT|ECONNREFUSED/);
  });
});
