import { defineKeys } from '#config-keys';
import { Fault, fault } from '#kit';

export const schedulerInstanceValues = ['all', 'group', 'manual'] as const;
export type SchedulerInstance = (typeof schedulerInstanceValues)[number];

/** The keys of a cluster member's `config`. */
export const memberKeys = defineKeys('cluster member', {
  'scheduler.instance': {
    type: 'set',
    values: schedulerInstanceValues,
    since: 'clustering_config',
    whileInUse: 'at-once',
    default: 'all',
    doc: { short: 'Which instances the scheduler may send here: all, only those of a group, or only those sent by name' },
  },
  'user.*': { type: 'string', since: 'clustering_config', doc: { short: 'Free for the user' } },
});

/** @throws Fault invalid, with LXD's words */
export function checkMemberConfig(config: Record<string, string>): void {
  for (const [key, value] of Object.entries(config)) {
    if (!memberKeys.find(key)) throw fault.invalid(`Invalid cluster configuration key "${key}"`);
    try {
      memberKeys.validate({ [key]: value });
    } catch (error) {
      if (error instanceof Fault) throw fault.invalid(`Invalid cluster configuration key "${key}" value`);
      throw error;
    }
  }
}
