import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { serverControllers } from '#server/http';
import { TestGateway } from '../../../libs/testkit/src/gateway.js';

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await TestGateway.open({ controllers: serverControllers, https: true });
});
afterAll(() => gateway[Symbol.asyncDispose]());

describe('GET /1.0', () => {
  it('answers on the unix socket', async () => {
    const reply = await gateway.call('GET', '/1.0');
    console.log(reply.text, reply.headers);
    expect(reply.status).toBe(200);
  });
});
