import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { memberOfOperation, operationId } from './operation-id.js';

it('carries the member and sorts by time', () => {
  const ids = [1, 2, 3].map((ms) => operationId(0xdeadbeef, 1_700_000_000_000 + ms, randomBytes(16)));
  expect(ids.map(memberOfOperation)).toEqual([0xdeadbeef, 0xdeadbeef, 0xdeadbeef]);
  expect([...ids].sort()).toEqual(ids);
  expect(ids[0]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});

it('knows what is no operation id', () => {
  for (const id of ['', 'nope', '3fa85f64-5717-4562-b3fc-2c963f66afa6']) expect(memberOfOperation(id)).toBeUndefined();
});
