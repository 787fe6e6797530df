import type { TableChanges } from '../codec/changeset.js';
import { touched } from '../codec/describe.js';
import type { Applied } from '../ports.js';
import type { EntryContent } from './entry.js';
import type { HistoryRow } from './history.js';

/** What watchers are told of an applied entry. `mine`: submitted on this member, whose part it is to emit the lifecycle events. */
export function appliedEvent(
  index: number,
  content: EntryContent | undefined,
  changes: readonly TableChanges[][],
  mine: (submitId: string) => boolean,
): Applied {
  if (content?.kind !== 'batch') return { index, time: new Date(content?.now ?? 0), commands: [], touched: content ? 'everything' : [] };
  return {
    index,
    time: new Date(content.now),
    commands: content.commands.map(({ name, identity, requestId, submitId, lifecycle }) => ({
      name,
      identity,
      requestId,
      submitId,
      lifecycle: [...lifecycle],
      mine: mine(submitId),
    })),
    touched: merged(changes),
  };
}

export function everythingChanged(index: number, now: number): Applied {
  return { index, time: new Date(now), commands: [], touched: 'everything' };
}

export function historyRows(index: number, content: EntryContent | undefined): HistoryRow[] {
  if (content?.kind !== 'batch') return [];
  return content.commands.map(({ name, identity, project, requestId, changeset }, part) => ({
    index,
    part,
    time: content.now,
    identity,
    command: name,
    project,
    requestId,
    changeset,
  }));
}

function merged(changes: readonly TableChanges[][]): { table: string; ids: (string | number)[] }[] {
  const byTable = new Map<string, Set<string | number>>();
  for (const { table, ids } of changes.flatMap(touched)) {
    const known = byTable.get(table) ?? new Set();
    for (const id of ids) known.add(id);
    byTable.set(table, known);
  }
  return [...byTable].map(([table, ids]) => ({ table, ids: [...ids] }));
}
