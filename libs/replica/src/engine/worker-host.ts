import { join } from 'node:path';
import type { MessagePort } from 'node:worker_threads';
import type { Logger } from '#kit';
import { realDisk } from '../disk/real-disk.js';
import { connectFile } from '../sqlite/connect.js';
import type { StateWing } from '../state/command.js';
import { FloatingStatement } from '../typeorm/gate.js';
import type { EngineFace } from './face.js';
import { toWire } from './fault-wire.js';
import { FileSnapshots } from './file-snapshots.js';
import { History } from './history.js';
import { openEngine } from './opening.js';
import { LateTransport } from '../transport/late-transport.js';
import { systemEngineClock } from './ports.js';
import type { EngineCall, EngineMessage, EngineNotice, EngineWorkerData } from './protocol.js';

export interface EngineWorkerOptions {
  readonly wings: readonly StateWing[];
  /** `workerData` of node:worker_threads, as the handle made it. */
  readonly workerData: unknown;
  /** `parentPort`. */
  readonly port: MessagePort;
}

/**
 * What the entry file of the engine's worker calls: opens the engine on the real disk, answers the handle's calls, and streams applied entries.
 * An error that the engine cannot go on after is thrown here, ends the worker, and with it the process.
 */
export async function runEngineWorker({ wings, workerData, port }: EngineWorkerOptions): Promise<void> {
  const { directory, identity, leases, network } = workerData as EngineWorkerData;
  const transport = new LateTransport(() => engine.status().member);
  transport.configure(network);
  const post = (message: EngineMessage): void => port.postMessage(message);
  dieOfUnknownRejections(portLogger(post));
  const replicaPath = join(directory, 'replica.db');
  let engine: EngineFace;
  try {
    engine = await openEngine({
      wings,
      disk: realDisk(join(directory, 'log')),
      connect: (foreignKeys) => connectFile(replicaPath, foreignKeys),
      snapshots: new FileSnapshots(join(directory, 'snapshots'), replicaPath),
      history: new History(connectFile(join(directory, 'history.db'), false)),
      transport,
      clock: systemEngineClock,
      logger: portLogger(post),
      identity,
      leases,
      fatal: die,
    });
  } catch (error) {
    post({ kind: 'closed', fault: toWire(error) });
    port.close();
    return;
  }
  engine.watch((applied) => post({ kind: 'applied', applied }));
  port.on('message', (message: EngineCall | EngineNotice) => {
    if ('call' in message) void answer(engine, message, port);
    else if (message.notice === 'network') transport.configure(message.network);
    else transport.accept(message.fd);
  });
  post({ kind: 'open', status: engine.status() });
}

async function answer(engine: EngineFace, { id, call, args }: EngineCall, port: MessagePort): Promise<void> {
  const post = (message: EngineMessage): void => port.postMessage(message);
  try {
    // The types of a call and its arguments were bound together in EngineCall.
    const value = await (engine[call] as (...args: unknown[]) => unknown)(...args);
    post({ kind: 'reply', id, value });
  } catch (error) {
    post({ kind: 'refusal', id, fault: toWire(error) });
  }
  if (call === 'close') port.close();
}

/** Not from within a promise, where it would be one more rejection: out of the event loop, so that the worker ends. */
function die(error: unknown): void {
  setImmediate(() => {
    throw error;
  });
}

/** A promise that a handler did not await was refused its statement, and its command has failed: that is told, and is not the end. */
function dieOfUnknownRejections(logger: Logger): void {
  process.on('unhandledRejection', (error: unknown) => {
    const cause = (error as { driverError?: unknown }).driverError ?? error;
    if (cause instanceof FloatingStatement) logger.error({ err: cause.message }, 'a promise of a command handler was not awaited');
    else die(error);
  });
}

function portLogger(post: (message: EngineMessage) => void, bound: object = {}): Logger {
  const at =
    (level: 'debug' | 'info' | 'warn' | 'error') =>
    (fields: object, message?: string): void =>
      post({ kind: 'log', level, fields: plain({ ...bound, ...fields }), message });
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error'), child: (fields) => portLogger(post, { ...bound, ...fields }) };
}

/** Errors keep their words on the way through the port. */
function plain(fields: object): object {
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [key, value instanceof Error ? { message: value.message, stack: value.stack } : value]),
  );
}
