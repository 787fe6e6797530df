import { describe, expect, it } from 'vitest';
import type { ApiRequest, Caller } from '#http-kit';
import type { ServerInfo } from '#members';
import type { HistoryEntry, Replica } from '#replica';
import { internalIdentity } from '#replica/state';
import { HistoryController } from './history.controller.js';

const entries = [1, 2, 3].map((index) => ({ index, command: 'c', project: index === 2 ? 'p' : 'default' }) as HistoryEntry);
const asked: unknown[] = [];
const replica = {
  barrier: async () => {},
  history: async (query: { project?: string }) => {
    asked.push(query);
    return { entries: entries.filter((one) => !query.project || one.project === query.project), span: { from: 1, to: 3, gaps: [[2, 2]] } };
  },
  revert: async (index: number, { dryRun }: { dryRun?: boolean }) => (dryRun ? { would: [{ entity: 't' }] } : { index: index + 10 }),
  submitted: async () => ({ state: 'unknown' }),
} as unknown as Replica;
const controller = new HistoryController(replica, { memberName: () => 'm1' } as ServerInfo);

const admin: Caller = { identity: internalIdentity, trusted: true, admin: true, local: true };
const restricted: Caller = { ...admin, admin: false, projects: ['p'] };
const request = (caller: Caller, query = '', params = {}, dryRun = false): ApiRequest =>
  ({
    caller,
    requestId: 'r',
    query: new URLSearchParams(query),
    project: new URLSearchParams(query).get('project') ?? 'default',
    params,
    dryRun,
  }) as unknown as ApiRequest;

describe('history', () => {
  it('is newest first, and says whose it is and how far it goes', async () => {
    expect(await controller.list(request(admin))).toEqual({
      kind: 'sync',
      metadata: [entries[2], entries[1], entries[0]],
      headers: { 'X-Muster-Member': 'm1', 'X-Muster-History-Span': '1-3 without 2-2' },
    });
  });

  it('shows restricted callers their projects', async () => {
    expect(await controller.list(request(restricted))).toMatchObject({ metadata: [entries[1]] });
    await expect(controller.list(request(restricted, 'project=default'))).rejects.toMatchObject({ kind: 'forbidden' });
  });

  it('refuses what is no number', async () => {
    await expect(controller.list(request(admin, 'from=x'))).rejects.toMatchObject({ kind: 'invalid' });
    await expect(controller.revert(request(admin, '', { index: '-1' }))).rejects.toMatchObject({ kind: 'invalid' });
  });

  it('reverts, or says what that would change', async () => {
    expect(await controller.revert(request(admin, '', { index: '2' }))).toEqual({ kind: 'sync', metadata: { index: 12 } });
    expect(await controller.revert(request(admin, '', { index: '2' }, true))).toMatchObject({ kind: 'dryRun', would: [{ entity: 't' }] });
  });
});

it('tells the fate of a submit', async () => {
  expect(await controller.submit(request(admin, '', { id: 'ab'.repeat(16) }))).toMatchObject({ metadata: { state: 'unknown' } });
  await expect(controller.submit(request(admin, '', { id: 'x' }))).rejects.toMatchObject({ kind: 'invalid' });
});
