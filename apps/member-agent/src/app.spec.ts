import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Event } from '#api-contract';
import { MemberEventHub } from '#events/host';
import { silent, systemClock } from '#kit';
import { DirectMembers, OperationsAgentService, type ServerInfo } from '#members';
import { createProject } from '#projects/state';
import { openLocalStore } from '#replica';
import { internalIdentity } from '#replica/state';
import { MemoryReplica } from '#testkit';
import { type AgentContext, type RunningAgent, schema, startAgent } from './app.js';
import { Steps } from './steps.js';

let context: AgentContext;
let agent: RunningAgent;
let directory: string;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'muster-agent-'));
  const server = {
    stateDir: directory,
    memberName: () => 'none',
    memberId: 1,
    fingerprint: () => 'f',
    startedAt: new Date(),
    version: '0',
  } as ServerInfo;
  const members = new DirectMembers({ checked: true, memberName: () => 'none' });
  const events = new MemberEventHub({ clock: systemClock, location: () => 'none' });
  const naming = { hash: 'agent0', lxc: (project: string, name: string) => `agent0-${project}_${name}`, nftTable: 'muster_agent0' };
  const replica = await MemoryReplica.open({ wings: schema });
  context = { replica, local: openLocalStore(':memory:'), members, server, naming, clock: systemClock, log: silent, events };
  agent = await startAgent(context);
});
afterEach(async () => {
  await agent.stop();
  context.local.close();
  await context.replica.close();
  rmSync(directory, { recursive: true, force: true });
});

it('runs operations, offers them to the gateway, and tells of what is applied', async () => {
  const stream = context.events.listen({ types: ['operation', 'lifecycle'] });
  const as = { identity: internalIdentity, requestId: 'r' };
  const { id } = agent.operations.start({
    description: 'Testing',
    project: 'default',
    context: as,
    run: async () => void (await context.replica.submit(createProject, { name: 'p', description: '', config: {} }, as)),
  });
  const answer = await context.members.calls(OperationsAgentService).wait({ id }, as);
  expect(answer).toMatchObject({ operation: { status: 'Success', location: 'none' }, project: 'default' });
  context.events.close('');
  const told: string[] = [];
  for await (const { json } of stream) {
    const { type, metadata } = JSON.parse(json) as Event & { metadata: { status?: string; action?: string } };
    told.push(`${type} ${metadata.status ?? metadata.action}`);
  }
  expect(told).toEqual(['operation Pending', 'operation Running', 'lifecycle project-created', 'operation Success']);
});

it('lets operations end before it stops', async () => {
  const as = { identity: internalIdentity, requestId: 'r' };
  const run = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 50));
  const { id } = agent.operations.start({ description: 'Testing', project: 'default', context: as, run });
  await agent.stop();
  expect(agent.operations.get(id)?.status).toBe('Success');
  expect(() => agent.operations.start({ description: 'Late', project: 'default', context: as })).toThrow('shutting down');
});

it('stops what was started, last first, and goes on when one fails', async () => {
  const stopped: string[] = [];
  const steps = new Steps(silent);
  const part = { start: async () => {} };
  await steps.start('a', part, () => stopped.push('a'));
  await steps.start('b', part, () => {
    throw new Error('stuck');
  });
  await expect(steps.start('c', { start: () => Promise.reject(new Error('no')) }, () => stopped.push('c'))).rejects.toThrow('no');
  await steps.stop();
  await steps.stop();
  expect(stopped).toEqual(['c', 'a']);
});
