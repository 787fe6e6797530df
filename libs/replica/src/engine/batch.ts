import { Fault, fault } from '#kit';
import { parse } from '../codec/changeset.js';
import { describe, type TableShape } from '../codec/describe.js';
import type { Command, MembershipChange } from '../state/command.js';
import { type Capture, CaptureBroken, type Captured, CHANGESET_BYTES_MAX } from './capture.js';
import type { CommandRecord } from './entry.js';
import { toWire } from './fault-wire.js';
import type { Fifo, Waiting } from './fifo.js';
import type { SubmitReply } from './ports.js';
import type { EngineRules } from './rules.js';

export const BATCH_COMMANDS_MAX = 64;
export const BATCH_MS_MAX = 10;
/** Dry runs take at most one place in four. */
const DRY_RUNS_MAX = BATCH_COMMANDS_MAX / 4;
/** A handler that works longer than this holds up heartbeats; it is told in the log. */
const HANDLER_MS_MAX = 50;

/** What a batch came to: what goes into the entry, and what is answered once that is applied. */
export interface CapturedBatch {
  /** In the order of `records`. */
  readonly commands: readonly Waiting[];
  readonly records: readonly CommandRecord[];
  /** Refusals, dry runs, repetitions and commands that changed nothing: reads, true only if the batch is. */
  readonly answers: readonly { readonly item: Waiting; readonly reply: SubmitReply }[];
  /** The one command that changes the membership, which is then the only one that writes. */
  readonly membership?: readonly MembershipChange[];
}

export interface BatchContext {
  readonly rules: EngineRules;
  readonly capture: Capture;
  readonly commands: ReadonlyMap<string, Command>;
  readonly shapeOf: (table: string) => TableShape;
  readonly now: Date;
  readonly monotonicMs: () => number;
  readonly slowHandler: (name: string, ms: number) => void;
  /** Commands known to fail: at trial, or because a promise of theirs was not awaited. */
  readonly failed: ReadonlyMap<Waiting, Fault>;
}

/** With an answer it is a read; without one it goes into the entry. */
interface Outcome {
  readonly item: Waiting;
  readonly captured?: Captured;
  readonly answer?: SubmitReply;
}

/** Takes the next commands from the queue, as many as a batch may have. That it ends at ten milliseconds is `captureBatch`'s affair. */
export function takeBatch(fifo: Fifo): Waiting[] {
  const taken: Waiting[] = [];
  let dryRuns = 0;
  let bytes = 0;
  for (let item = fifo.peek(); item && taken.length < BATCH_COMMANDS_MAX; item = fifo.peek()) {
    if (item.kind === 'migration') break;
    if (item.kind === 'dry-run' && (dryRuns += 1) > DRY_RUNS_MAX) break;
    bytes += item.request.payload.length;
    if (bytes > CHANGESET_BYTES_MAX && taken.length > 0) break;
    fifo.shift();
    taken.push(item);
  }
  return taken;
}

/**
 * Runs the commands one after the other in one transaction that is rolled back at the end. What did not fit in the batch's time or size is
 * given back in `rest`. @throws Spoilt
 */
export async function captureBatch(items: readonly Waiting[], context: BatchContext): Promise<CapturedBatch & { readonly rest: readonly Waiting[] }> {
  const { capture, monotonicMs } = context;
  const startMs = monotonicMs();
  const outcomes: Outcome[] = [];
  const seen = new Set<string>();
  let bytes = 0;
  let next = 0;
  await capture.begin();
  try {
    for (const item of items) {
      if (next > 0 && monotonicMs() - startMs > BATCH_MS_MAX) break;
      // A repetition of a command of this very batch waits for the next one, which will find the first in the table.
      if (seen.has(item.request.submitId)) break;
      const outcome = await one(item, context);
      const more = outcome.answer ? 0 : (outcome.captured?.changeset.length ?? 0);
      if (bytes > 0 && bytes + more > CHANGESET_BYTES_MAX) break;
      const changesMembership = outcome.captured?.membership !== undefined && !outcome.answer;
      // A change of the membership has an entry to itself.
      if (changesMembership && next > 0) break;
      bytes += more;
      seen.add(item.request.submitId);
      outcomes.push(outcome);
      next += 1;
      if (changesMembership) break;
    }
    await capture.settle();
  } finally {
    await capture.rollback();
  }
  return { ...sorted(outcomes), rest: items.slice(next) };
}

/** Commands that spoilt the batch: their promises came up after their end, or they broke its transactions. It is taken again without them. */
export class Spoilt extends Error {
  constructor(
    readonly items: readonly Waiting[],
    why: string,
  ) {
    super(why);
    this.name = 'Spoilt';
  }
}

function sorted(outcomes: readonly Outcome[]): CapturedBatch {
  const floated = outcomes.filter(({ captured }) => captured?.floated()).map(({ item }) => item);
  if (floated.length > 0) throw new Spoilt(floated, 'a promise of the handler was not awaited');
  const writing = outcomes.flatMap(({ item, captured, answer }) => (captured && !answer ? [{ item, captured }] : []));
  const membership = writing[0]?.captured.membership;
  return {
    ...(membership ? { membership } : {}),
    commands: writing.map(({ item }) => item),
    records: writing.map(({ item, captured }) => record(item, captured)),
    answers: outcomes.flatMap(({ item, answer }) => (answer ? [{ item, reply: answer }] : [])),
  };
}

async function one(item: Waiting, context: BatchContext): Promise<Outcome> {
  const { capture, commands, now, monotonicMs } = context;
  const { request } = item;
  try {
    const failed = context.failed.get(item);
    if (failed) throw failed;
    if (monotonicMs() > item.deadlineMs) throw fault.unavailable('The change was not made in time');
    const earlier = await capture.read((sql) =>
      sql.get<{ entry: number; result: string }>('SELECT entry, result FROM submits WHERE id = ?', request.submitId),
    );
    if (earlier && context.rules.findsEarlier()) return { item, answer: { kind: 'applied', index: earlier.entry, result: earlier.result } };
    const command = commands.get(request.name);
    if (!command) throw fault.unsupported(`This member knows no command ${request.name}`);
    const startMs = monotonicMs();
    const captured = await capture.run({
      command,
      payload: JSON.parse(request.payload),
      identity: request.identity,
      now,
      keep: item.kind === 'command',
    });
    if (monotonicMs() - startMs > HANDLER_MS_MAX) context.slowHandler(request.name, monotonicMs() - startMs);
    if (item.kind === 'dry-run') {
      return { item, captured, answer: { kind: 'would', would: describe(parse(captured.changeset), context.shapeOf), result: captured.result } };
    }
    // Nothing to write and nothing to tell: running it again would do no harm, so it needs no entry.
    const isRead = captured.changeset.length === 0 && captured.lifecycle.length === 0 && !captured.membership;
    return isRead ? { item, captured, answer: { kind: 'applied', index: 0, result: captured.result } } : { item, captured };
  } catch (thrown) {
    if (thrown instanceof CaptureBroken) throw new Spoilt([item], thrown.message);
    return { item, answer: { kind: 'fault', fault: toWire(thrown) } };
  }
}

function record({ request }: Waiting, { result, lifecycle, changeset }: Captured): CommandRecord {
  const payload = JSON.parse(request.payload) as { project?: unknown } | null;
  const named = typeof payload?.project === 'string' ? payload.project : undefined;
  const { name, identity, submitId, requestId } = request;
  return { name, identity, submitId, requestId, project: named ?? lifecycle[0]?.project ?? 'default', result, lifecycle, changeset };
}
