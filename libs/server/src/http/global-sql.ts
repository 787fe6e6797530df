import { submitOptions, type ApiRequest } from '#http-kit';
import { fault } from '#kit';
import type { Replica } from '#replica';
import type { Command, Reader } from '#replica/state';
import { isSelect, runSelect, type SqlResult, type SqlViews } from '../state/index.js';

/** Nest token of a SqlBridge. */
export const SQL_BRIDGE = Symbol('sql-bridge');

/** How a statement of LXD's test suites that writes becomes a command of a subject. */
export interface SqlWrite {
  pattern: RegExp;
  // Each command has a payload of its own; `payload` makes the fitting one.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  command: Command<any, { changes: number }>;
  payload: (match: RegExpExecArray) => unknown;
}

/** LXD's tables as views over ours, and the writes that are understood; known to the subjects, so the gateway brings it. */
export interface SqlBridge {
  views: SqlViews;
  writes: readonly SqlWrite[];
  /** URL of an entity by LXD's type code (1: image, 5: instance …) and its id in the views; undefined when there is none. */
  entityUrl?: (reader: Reader, typeCode: number, id: number) => string | undefined;
}

export const noBridge: SqlBridge = { views: {}, writes: [] };

/** The views over what is known here. */
export const serverViews: SqlViews = {
  config: "SELECT rowid AS id, key, value FROM main.server_config WHERE key <> 'core.trust_password'",
  certificates: `SELECT id, fingerprint, CASE type WHEN 'client' THEN 1 WHEN 'server' THEN 2 ELSE 3 END AS type, name, certificate, restricted FROM main.certificates`,
  certificates_projects: 'SELECT certificate_id, project_id FROM main.certificate_projects',
};

/** One statement on the cluster's database: reads are reads, writes are commands, or are refused. @throws Fault */
export async function globalSql(replica: Replica, request: ApiRequest, statement: string, bridge: SqlBridge): Promise<SqlResult> {
  if (isSelect(statement)) {
    await replica.barrier();
    return runSelect(replica.reader, statement, { ...serverViews, ...bridge.views });
  }
  for (const { pattern, command, payload } of bridge.writes) {
    const match = pattern.exec(statement);
    if (!match) continue;
    const { result } = await replica.submit(command, payload(match), submitOptions(request));
    return { type: 'exec', columns: [], rows: [], rows_affected: result.changes };
  }
  throw fault.unsupported('Statements that write the cluster database directly are not possible: it only changes by commands');
}
