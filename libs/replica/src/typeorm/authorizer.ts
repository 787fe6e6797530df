import { constants as codes } from 'node:sqlite';
import { OWN_TABLES } from '../sqlite/base-tables.js';
import type { Gate } from './gate.js';

const READS: ReadonlySet<number> = new Set([codes.SQLITE_SELECT, codes.SQLITE_READ, codes.SQLITE_FUNCTION, codes.SQLITE_RECURSIVE]);
const WRITES: ReadonlySet<number> = new Set([codes.SQLITE_INSERT, codes.SQLITE_UPDATE, codes.SQLITE_DELETE]);
/** Questions about the schema. The session extension asks some of them on this very connection, from within the handler's statement. */
const LOOKS: ReadonlySet<string> = new Set(['table_xinfo', 'table_info', 'foreign_key_list']);

/**
 * What may be prepared on the capture connection: reading, writing of the subjects' tables, and the transactions of TypeORM's runner. DDL,
 * PRAGMA, ATTACH and the rest are refused: a changeset would not carry them, and SQLite would say nothing.
 */
export function captureAuthorizer(gate: Gate): (action: number, first: string | null, second: string | null) => number {
  return (action, first) => {
    if (READS.has(action)) return codes.SQLITE_OK;
    // Writes of sqlite_master are DDL; the table-less DELETE of a truncate is told by its name as well.
    if (WRITES.has(action)) return OWN_TABLES.has(first ?? '') || first?.startsWith('sqlite_') ? codes.SQLITE_DENY : codes.SQLITE_OK;
    if (action === codes.SQLITE_PRAGMA) return LOOKS.has(first ?? '') ? codes.SQLITE_OK : codes.SQLITE_DENY;
    if (action === codes.SQLITE_SAVEPOINT) return codes.SQLITE_OK;
    if (action === codes.SQLITE_TRANSACTION) return gate.open?.engine ? codes.SQLITE_OK : codes.SQLITE_DENY;
    return codes.SQLITE_DENY;
  };
}
