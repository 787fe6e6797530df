import { expect, it } from 'vitest';
import { schema } from '#apps/member-agent';
import { silent, systemClock } from '#kit';
import { DirectMembers, OperationsAgentService, PlacementSchedulerService, type ServerInfo } from '#members';
import { internalIdentity } from '#replica/state';
import { MemoryReplica } from '#testkit';
import { resolveWarnings, upsertWarning, warnings, warningsState } from '#warnings/state';
import { startScheduler } from './app.js';
import { housekeepingJobs } from './periodic/housekeeping.jobs.js';

const as = { identity: internalIdentity, requestId: 'r' };
const members = () => new DirectMembers({ checked: true, memberName: () => 'none' });

it('places on the only member, and says what that one lacks', async () => {
  const replica = await MemoryReplica.open({ wings: schema });
  const calls = members();
  const server = { memberId: 1, memberName: () => 'none' } as ServerInfo;
  const scheduler = await startScheduler({ replica, members: calls, server, clock: systemClock, log: silent });
  const scheduling = calls.calls(PlacementSchedulerService);
  const anything = { target: '', architecture: '', pools: [], networks: [] };
  expect(await scheduling.place(anything, as)).toEqual({ member: 'none', refusals: [] });
  await expect(scheduling.place({ ...anything, pools: ['fast'] }, as)).rejects.toMatchObject({
    kind: 'invalid',
    metadata: { refusals: [{ member: 'none', check: 'pool' }] },
  });
  await scheduler.stop();
  await replica.close();
});

it('cuts what grows by itself', async () => {
  let ms = 1_800_000_000_000;
  const replica = await MemoryReplica.open({ wings: [warningsState], clock: { now: () => new Date(ms), monotonicMs: () => ms } });
  const calls = members();
  let pruned = 0;
  const refuse = (): Promise<never> => Promise.reject(new Error('not expected'));
  calls.serve(OperationsAgentService, {
    list: refuse,
    get: refuse,
    wait: refuse,
    cancel: refuse,
    connect: refuse,
    pruneHistory: async () => (pruned++, {}),
  });
  await replica.submit(upsertWarning, { uuid: 'u', member: 'none', project: '', entityUrl: '', type: 0, message: 'x' }, as);
  await replica.submit(resolveWarnings, { member: 'none', type: 0 }, as);
  ms += 86_400_000;
  for (const job of housekeepingJobs(calls, replica)) await job.run({ dueAt: new Date(ms), signal: new AbortController().signal });
  expect([pruned, warnings(replica.reader)]).toEqual([1, []]);
  await replica.close();
});
