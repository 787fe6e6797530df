import type { DatabaseSync } from 'node:sqlite';
import type { Migration, StateWing } from '../state/command.js';
import { schemaBreaches } from './schema-rules.js';

/** Migrations of the wings, in order, that this database has not had. */
export function pendingMigrations(db: DatabaseSync, wings: readonly StateWing[]): Migration[] {
  const had = new Set((db.prepare('SELECT name FROM migrations').all() as { name: string }[]).map((row) => row.name));
  return wings.flatMap((wing) => [...wing.migrations]).filter((migration) => !had.has(migration.name));
}

/** Migrations in this database that the build does not know: it is older than the cluster. */
export function unknownMigrations(db: DatabaseSync, wings: readonly StateWing[]): string[] {
  const known = new Set(wings.flatMap((wing) => wing.migrations.map((migration) => migration.name)));
  return (db.prepare('SELECT name FROM migrations ORDER BY schema').all() as { name: string }[])
    .map((row) => row.name)
    .filter((name) => !known.has(name));
}

/** Runs one migration in the open transaction, and raises the schema number by one. Throws if the new schema may not be. */
export function runMigration(db: DatabaseSync, migration: Migration, index: number): void {
  for (const statement of migration.sql) db.exec(statement);
  const breaches = schemaBreaches(db);
  if (breaches.length > 0) throw new Error(`the schema may not be: ${breaches.join('; ')}`);
  db.exec('UPDATE meta SET schema = schema + 1');
  db.prepare('INSERT INTO migrations(name, schema, entry) SELECT ?, schema, ? FROM meta').run(migration.name, index);
}
