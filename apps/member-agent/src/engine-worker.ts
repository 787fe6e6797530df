import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '#kit';
import { runEngineWorker } from '#replica/engine';
import { schema } from './schema.js';

/** The worker's entry: consensus, the log and the database's writer, with the handlers of every subject. No Nest. */
assert(parentPort, 'the engine runs in a worker');
await runEngineWorker({ wings: schema, workerData, port: parentPort });
