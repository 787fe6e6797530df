import { randomBytes } from 'node:crypto';
import { closeSync } from 'node:fs';
import { fault, faultPoint } from '#kit';
import { parse } from '../codec/changeset.js';
import { describe } from '../codec/describe.js';
import type { HistoryRow } from '../engine/history.js';
import type { SubmitRequest } from '../engine/ports.js';
import { conflictsOf, inverseOf, revertCommand, type RevertPayload } from '../engine/revert.js';
import type { Applied, Effect, HistoryEntry, MemberReplica, NewIdentity, ReplicaStatus, Submitted, SubmitOptions } from '../ports.js';
import { Shapes } from '../sqlite/schema.js';
import { SqlOn, StatementCache } from '../sqlite/statements.js';
import type { Command, Reader, StateWing } from '../state/command.js';
import type { EngineNetwork } from '../transport/network.js';
import { type EngineHome, type OpenEngine, readyWithin } from './engine-home.js';
import { Rounds } from './rounds.js';
import type { WorkerClient } from './worker-client.js';

const TIMEOUT_MS = 30_000;
/** Bodies of JSON requests are at most 16 MiB; no command needs as much. */
const PAYLOAD_BYTES_MAX = 4 * 1024 * 1024;

/** The main thread's side of the replica: writes go to the worker as commands, reads are answered here from a connection that cannot write. */
export class ReplicaHandle implements MemberReplica {
  /** The same for life, whatever database is behind it. */
  readonly reader: Reader = {
    all: (text, ...parameters) => this.#sql.all(text, ...parameters),
    get: (text, ...parameters) => this.#sql.get(text, ...parameters),
  };
  readonly #listeners = new Set<(applied: Applied) => void>();
  readonly #barrier = new Rounds(() => this.client.call('barrier'));
  #engine: OpenEngine;
  /** The one that is getting ready to take its place: its peers reach it already. */
  #arriving: OpenEngine | undefined;
  /** Connections for it, from before it was open. */
  #early: number[] | undefined;
  #shapes: Shapes;
  #sql: SqlOn;

  constructor(
    engine: OpenEngine,
    private readonly home: EngineHome,
    private readonly wings: readonly StateWing[],
    private readonly lock: Disposable | undefined,
  ) {
    this.#engine = engine;
    this.#shapes = new Shapes(engine.reader, wings);
    this.#sql = new SqlOn(new StatementCache(engine.reader));
  }

  private get client(): WorkerClient {
    return this.#engine.client;
  }

  async submit<P, R>(command: Command<P, R>, payload: P, options: SubmitOptions): Promise<Submitted<R>> {
    const outcome = await this.client.call('submit', request(command.name, payload, options));
    faultPoint(`submitted: ${command.name}`);
    if (outcome.kind !== 'applied') throw fault.internal('Internal error', { detail: 'a submit was answered like a dry run' });
    return { result: JSON.parse(outcome.result) as R, index: outcome.index };
  }

  async dryRun<P, R>(command: Command<P, R>, payload: P, options: SubmitOptions): Promise<{ would: Effect[]; result: R }> {
    const outcome = await this.client.call('dryRun', request(command.name, payload, options));
    if (outcome.kind !== 'would') throw fault.internal('Internal error', { detail: 'a dry run was answered like a submit' });
    return { would: outcome.would, result: JSON.parse(outcome.result) as R };
  }

  submitted(submitId: string): Promise<{ state: 'applied'; index: number } | { state: 'unknown' }> {
    return this.client.call('submitted', submitId);
  }

  barrier(): Promise<void> {
    return this.#barrier.wait();
  }

  watch(listener: (applied: Applied) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  /** Called by the worker's client, in order. */
  applied(applied: Applied): void {
    if (applied.touched === 'everything') this.#shapes.forget();
    for (const listener of this.#listeners) listener(applied);
  }

  status(): Promise<ReplicaStatus> {
    return this.client.call('status');
  }

  async history(query: { from?: number; limit?: number; project?: string }) {
    const { rows, span } = await this.client.call('history', query);
    return { entries: rows.map((row) => this.#historyEntry(row)), span: { ...span, gaps: [...span.gaps] } };
  }

  async revert(index: number, options: SubmitOptions & { dryRun?: boolean; part?: number }): Promise<{ would?: Effect[]; index?: number }> {
    const rows = (await this.client.call('historyEntry', index)).filter((row) => options.part === undefined || row.part === options.part);
    if (rows.length === 0) throw fault.notFound('History entry not found');
    const payload: RevertPayload = {
      index,
      project: rows[0]?.project ?? 'default',
      changesets: rows.map((row) => Buffer.from(row.changeset).toString('base64')),
    };
    if (options.dryRun) return { would: (await this.dryRun(revertCommand, payload, options)).would };
    return { index: (await this.submit(revertCommand, payload, options)).index };
  }

  compact(): Promise<void> {
    return this.client.call('compact');
  }

  configure(network: EngineNetwork): void {
    (this.#arriving ?? this.#engine).client.notify({ notice: 'network', network });
  }

  accept(fd: number): void {
    if (this.#early) this.#early.push(fd);
    else (this.#arriving ?? this.#engine).client.notify({ notice: 'connection', fd });
  }

  transferLeadership(to?: number): Promise<boolean> {
    return this.client.call('transferLeadership', to);
  }

  async begin(identity: NewIdentity, network: EngineNetwork, timeoutMs: number): Promise<void> {
    this.#early = [];
    await this.client.close();
    this.home.putAside();
    let engine: OpenEngine | undefined;
    let current = false;
    try {
      engine = await this.home.open(identity, network, (applied) => current && this.applied(applied));
      this.#arriving = engine;
      this.#acceptEarly();
      await readyWithin(engine, timeoutMs);
    } catch (error) {
      this.#arriving = undefined;
      for (const fd of this.#early?.splice(0) ?? []) closeSync(fd);
      this.#early = undefined;
      await engine?.client.close();
      engine?.reader.close();
      this.home.putBack();
      this.#use(await this.home.open({ member: 1 }, { peers: [] }, (applied) => this.applied(applied)));
      throw error;
    }
    current = true;
    this.#use(engine);
    this.home.forgetAside();
  }

  async close(): Promise<void> {
    await this.client.close();
    if (this.#engine.reader.isOpen) this.#engine.reader.close();
    this.lock?.[Symbol.dispose]();
  }

  #acceptEarly(): void {
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const fd of early) this.accept(fd);
  }

  /** Until here the old database answered, as it was. */
  #use(engine: OpenEngine): void {
    const before = this.#engine.reader;
    this.#engine = engine;
    this.#arriving = undefined;
    this.#shapes = new Shapes(engine.reader, this.wings);
    this.#sql = new SqlOn(new StatementCache(engine.reader));
    before.close();
    const { applied, now } = this.reader.get<{ applied: number; now: number }>('SELECT applied, now FROM meta')!;
    this.applied({ index: applied, time: new Date(now), commands: [], touched: 'everything' });
  }

  #historyEntry({ index, part, time, identity, command, project, requestId, changeset }: HistoryRow): HistoryEntry {
    const inverse = inverseOf(changeset);
    return {
      index,
      part,
      time: new Date(time).toISOString(),
      identity,
      command,
      project,
      requestId,
      changes: describe(parse(changeset), this.#shapes.of),
      invertible: inverse.length > 0 && conflictsOf(this.reader, inverse).length === 0,
    };
  }
}

function request(name: string, payload: unknown, { identity, requestId = '', timeoutMs = TIMEOUT_MS }: SubmitOptions): SubmitRequest {
  const text = JSON.stringify(payload ?? null);
  if (text.length > PAYLOAD_BYTES_MAX) throw fault.tooLarge('The change is too large');
  return { name, payload: text, identity, submitId: randomBytes(16).toString('hex'), requestId, timeoutMs };
}
