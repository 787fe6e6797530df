import { describe, expect, it } from 'vitest';
import type { EventHub, NewEvent } from '#events/host';
import type { ApiRequest } from '#http-kit';
import { silent, type Logger } from '#kit';
import { requestLog } from './request-log.js';

const told: NewEvent[] = [];
const hub = (wanted: boolean): EventHub => ({ wanted: () => wanted, publish: (event: NewEvent) => told.push(event) }) as unknown as EventHub;
const lines: [string, object][] = [];
const log: Logger = { ...silent, debug: (fields) => lines.push(['debug', fields]), info: (fields) => lines.push(['info', fields]) };

function line(of: Logger, wanted: boolean, method: string, statusCode: number): void {
  const api = { requestId: 'ab', caller: { identity: { protocol: 'unix', username: 'root', address: '@' } } } as ApiRequest;
  const request = { api, method, url: '/1.0/operations/x/wait?secret=s3cret' };
  requestLog(of, hub(wanted))(request as never, { statusCode, elapsedTime: 1.2345 } as never);
}

describe('the line of a request', () => {
  it('says who, what, how it went and how long it took, and never the query', () => {
    line(log, true, 'POST', 403);
    const fields = {
      requestId: 'ab',
      method: 'POST',
      path: '/1.0/operations/x/wait',
      status: 403,
      ms: 1.23,
      caller: 'root',
      protocol: 'unix',
      address: '@',
    };
    expect(lines).toEqual([['info', fields]]);
    expect(told).toEqual([
      { type: 'logging', metadata: { level: 'info', message: 'Handling API request', context: expect.objectContaining({ status: '403' }) } },
    ]);
    expect(JSON.stringify([lines, told])).not.toContain('s3cret');
  });

  it('is debug for a read that went well, and not made when nobody wants it', () => {
    lines.length = told.length = 0;
    line(log, false, 'GET', 200);
    expect(lines.map(([level]) => level)).toEqual(['debug']);
    const quiet = { ...log, isLevelEnabled: () => false };
    line(quiet, false, 'GET', 200);
    expect(lines).toHaveLength(1);
    line(quiet, false, 'GET', 500);
    expect(lines).toHaveLength(2);
    expect(told).toEqual([]);
  });
});
