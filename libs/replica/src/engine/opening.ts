import { randomBytes } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import type { Logger } from '#kit';
import { BOOTS_KEPT, type Configuration, noConfiguration, RaftNode } from '#raft-ts';
import type { Disk } from '../disk/disk.js';
import { Log } from '../log/log.js';
import type { LogIdentity } from '../log/record.js';
import { LogDamaged } from '../log/recover.js';
import type { Command, StateWing } from '../state/command.js';
import { historyRows } from './applied-event.js';
import { Engine } from './engine.js';
import { decodeEntry } from './entry.js';
import type { EngineFace } from './face.js';
import type { History } from './history.js';
import type { EngineClock, Transport } from './ports.js';
import { revertCommand } from './revert.js';
import { type EngineTests, engineRules } from './rules.js';
import type { Snapshots } from './snapshots.js';
import { SqliteStateMachine } from './sqlite-state-machine.js';
import { StoppedEngine } from './stopped-engine.js';

export interface EngineOptions {
  readonly wings: readonly StateWing[];
  readonly disk: Disk;
  readonly connect: (foreignKeys: boolean) => DatabaseSync;
  readonly snapshots: Snapshots;
  readonly history: History;
  readonly transport: Transport;
  readonly clock: EngineClock;
  readonly logger: Logger;
  /** In [0, 1), and bytes of boot nonces: a simulator seeds both. */
  readonly random?: () => number;
  readonly nonce?: () => string;
  /** Who this member is, if the log is new; afterwards the log says so itself: founders begin the cluster, anybody else waits to be told about it. */
  readonly identity: LogIdentity;
  readonly leases?: boolean;
  readonly forTests?: EngineTests;
  readonly fatal: (error: unknown) => void;
}

/**
 * Opens, or makes, one member's engine: reads and checks the log, finishes an install that was under way, draws a boot nonce and makes it
 * durable, and starts consensus. A damaged log gives an engine that answers reads and says why it does nothing else.
 */
export async function openEngine(options: EngineOptions): Promise<EngineFace> {
  const { disk, wings, connect, history, logger, snapshots, transport, clock } = options;
  let log: Log;
  try {
    log = Log.open(disk, options.forTests?.log);
  } catch (error) {
    if (!(error instanceof LogDamaged)) throw error;
    logger.error({ err: error }, 'the log is damaged: this member neither votes nor acknowledges');
    return new StoppedEngine(error.message, connect(false), history, options.identity);
  }
  const rules = { ...engineRules, ...options.forTests?.rules };
  if (log.tornBytes > 0) logger.info({ bytes: log.tornBytes }, 'dropped the torn last batch of the log');
  const identity = log.state.identity ?? options.identity;
  const configuration: Configuration = { ...noConfiguration, voters: identity.founders ?? [] };
  const machine = await SqliteStateMachine.open({ connect, wings, cluster: identity.cluster, configuration, rules });
  const ahead = machine.standing().index > log.lastIndex();
  if (ahead && log.state.marker === undefined) {
    const why = `the replica is at ${machine.standing().index}, ahead of its own log, which ends at ${log.lastIndex()}`;
    logger.error({ why }, 'the log was lost or put back: this member neither votes nor acknowledges');
    await machine.close();
    log.close();
    return new StoppedEngine(why, connect(false), history, identity);
  }
  await finishInstall(log, machine, snapshots, history);
  snapshots.tidy(log.state.marker?.file);
  const boots = [...log.state.boots, options.nonce?.() ?? randomBytes(16).toString('hex')].slice(-BOOTS_KEPT);
  log.append({ identity, boots });
  catchUpHistory(history, log, machine.standing().index);
  const unknown = machine.unknown();
  const { index, configuration: applied } = machine.standing();
  const node = new RaftNode({
    identity: { cluster: identity.cluster, member: identity.member, incarnation: identity.incarnation, boots },
    hardState: log.state.hardState,
    applied: { index, configuration: applied },
    storage: log,
    snapshots,
    startMs: clock.monotonicMs(),
    random: options.random ?? Math.random,
    leases: options.leases ?? false,
    promotable: unknown.length === 0,
    peerBoots: log.state.peerBoots,
    ...(options.forTests?.raft ? { rules: options.forTests.raft } : {}),
  });
  return new Engine({
    node,
    log,
    machine,
    history,
    snapshots,
    transport,
    clock,
    logger,
    commands: commandsOf(wings),
    cluster: identity.cluster,
    rules,
    fatal: options.fatal,
    stopped: whyStopped(unknown, index, log.firstIndex()),
  });
}

function whyStopped(unknown: readonly string[], applied: number, logBegins: number): string | undefined {
  if (unknown.length > 0) return `the database is newer than this build: it has ${unknown.join(', ')}`;
  if (applied < logBegins - 1) return `the replica ends at ${applied}, before its log begins at ${logBegins}: only a snapshot or a backup can help`;
  return undefined;
}

function commandsOf(wings: readonly StateWing[]): ReadonlyMap<string, Command> {
  const commands = new Map<string, Command>([[revertCommand.name, revertCommand as Command]]);
  for (const command of wings.flatMap((wing) => wing.commands)) {
    if (commands.has(command.name)) throw new Error(`two commands are called ${command.name}`);
    commands.set(command.name, command);
  }
  return commands;
}

/** Steps 3 and 4 of a snapshot's install, if a start finds its marker. Doing step 3 twice does no harm. */
async function finishInstall(log: Log, machine: SqliteStateMachine, snapshots: Snapshots, history: History): Promise<void> {
  const { marker } = log.state;
  if (!marker) return;
  if (machine.standing().index < marker.index) {
    await snapshots.install(marker.file);
    machine.forget();
    machine.makeDurable();
    history.skipTo(marker.index);
  }
  log.append({ marker: null });
  snapshots.remove(marker.file);
}

/** What history had gathered and not written when the process ended, from the log. */
function catchUpHistory(history: History, log: Log, applied: number): void {
  for (let index = Math.max(history.last + 1, log.firstIndex()); index <= applied; index += 1) {
    const [entry] = log.entries(index, index, Infinity);
    if (!entry) break;
    history.add(index, historyRows(index, entry.data.length > 0 ? decodeEntry(entry.data) : undefined));
  }
}
