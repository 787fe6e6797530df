import { describe, expect, it } from 'vitest';
import { silent } from '#kit';
import { isScheduled } from './snapshot-schedule.js';
import { type ScheduledThing, snapshotsJob } from './snapshots.job.js';

const at = (hour: number, minute: number, day = 15): Date => new Date(2030, 0, day, hour, minute);

function timesOn(schedule: string, id: number, day = 15): string[] {
  const times: string[] = [];
  for (let hour = 0; hour < 24; hour++)
    for (let minute = 0; minute < 60; minute++) if (isScheduled(schedule, id, at(hour, minute, day))) times.push(`${hour}:${minute}`);
  return times;
}

describe('isScheduled', () => {
  it('knows cron, and lists of it', () => {
    expect(timesOn('30 6 * * *', 1)).toEqual(['6:30']);
    expect(timesOn('0 6 * * *, 15 7,8 * * *', 1)).toEqual(['6:0', '7:15', '8:15']);
  });

  it('spreads the aliases over things, and keeps each at its time', () => {
    expect(timesOn('@daily', 7)).toHaveLength(1);
    expect(timesOn('@daily', 7)).toEqual(timesOn('@Daily', 7, 16));
    expect(timesOn('@hourly', 7)).toHaveLength(24);
    expect(timesOn('@midnight', 7)[0]).toMatch(/^0:/);
    const ids = Array.from({ length: 200 }, (_, id) => timesOn('@midnight', id)[0]);
    expect(new Set(ids).size).toBeGreaterThan(40);
  });

  it('never comes for @never, @startup, nothing, and what is no schedule', () => {
    for (const schedule of ['@never', '@startup', '', 'x', '* * *', '61 * * * *']) expect(timesOn(schedule, 1)).toEqual([]);
  });
});

it('takes the snapshots that are due, whatever becomes of one', async () => {
  const taken: string[] = [];
  const thing = (name: string, schedule: string): ScheduledThing => ({ id: 1, name, project: 'default', schedule });
  const source = {
    kind: 'instances',
    scheduled: () => [thing('a', '0 6 * * *'), thing('broken', '0 6 * * *'), thing('b', '0 6 * * *'), thing('later', '1 6 * * *')],
    snapshot: async ({ name }: ScheduledThing) => {
      if (name === 'broken') throw new Error('disk full');
      taken.push(name);
    },
  };
  await snapshotsJob([source], silent).run({ dueAt: at(6, 0), signal: new AbortController().signal });
  expect(taken.sort()).toEqual(['a', 'b']);
});
