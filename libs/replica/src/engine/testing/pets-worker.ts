import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { runEngineWorker } from '../worker-host.js';
import { petsWing } from './fixture.js';

await runEngineWorker({ wings: [petsWing], workerData, port: parentPort as MessagePort });
