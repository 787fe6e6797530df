import { internalIdentity } from '#replica/state';
import { type Members, OperationsAgentService } from '#members';
import type { SubmitPort } from '#replica';
import { pruneWarnings } from '#warnings/state';
import type { PeriodicJob } from './periodic-job.js';

/** As LXD: whoever looks next day still sees what was. */
const resolvedForMs = 86_400_000;

/** What grows by itself is cut by itself. */
export function housekeepingJobs(members: Members, replica: SubmitPort): PeriodicJob[] {
  return [
    {
      name: 'old operations',
      schedule: '17 3 * * *',
      on: 'member',
      timeoutMs: 60_000,
      run: async ({ signal }) =>
        void (await members.calls(OperationsAgentService).pruneHistory({}, { identity: internalIdentity, requestId: '', signal })),
    },
    {
      name: 'resolved warnings',
      schedule: '27 3 * * *',
      on: 'leader',
      timeoutMs: 60_000,
      run: async () => void (await replica.submit(pruneWarnings, { resolvedForMs }, { identity: internalIdentity })),
    },
  ];
}
