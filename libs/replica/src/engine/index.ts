/** The engine's door: for the worker's entry, the simulator and the testkit. Services use `#replica`. */
export { Capture } from './capture.js';
export { parse } from '../codec/changeset.js';
export { describe, touched } from '../codec/describe.js';
export { createBaseTables } from '../sqlite/base-tables.js';
export { pendingMigrations, runMigration } from '../sqlite/migrate.js';
export { Shapes } from '../sqlite/schema.js';
export { SqlOn, StatementCache } from '../sqlite/statements.js';
