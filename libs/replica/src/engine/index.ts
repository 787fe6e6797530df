/** The engine's door: for the worker's entry, the simulator and the testkit. Services use `#replica`. */
export { parse } from '../codec/changeset.js';
export { describe, touched } from '../codec/describe.js';
export { type Disk, type DiskFile, NoSpace } from '../disk/disk.js';
export { realDisk } from '../disk/real-disk.js';
export { createBaseTables } from '../sqlite/base-tables.js';
export { connectFile, memoryDatabase } from '../sqlite/connect.js';
export { pendingMigrations, runMigration } from '../sqlite/migrate.js';
export { Shapes } from '../sqlite/schema.js';
export { SqlOn, StatementCache } from '../sqlite/statements.js';
export { Capture } from './capture.js';
export type { EngineFace } from './face.js';
export { FileSnapshots } from './file-snapshots.js';
export { History } from './history.js';
export { type EngineOptions, openEngine } from './opening.js';
export { type EngineClock, loneTransport, type SubmitRequest, systemEngineClock, type Transport, type TransportHandlers } from './ports.js';
export { runEngineWorker } from './worker-host.js';
export { Log, type LogOptions } from '../log/log.js';
export { LogDamaged } from '../log/recover.js';
