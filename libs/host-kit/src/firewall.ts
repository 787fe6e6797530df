import { runOk } from './run.js';

/**
 * Applies an nftables script: all of it or nothing. A table that is to be replaced is first named (`table inet x`), then deleted, then defined, in one
 * script: that works whether it is there or not.
 * @throws Fault internal with nft's words as its detail
 */
export async function applyNft(script: string): Promise<void> {
  await runOk('nft', ['-f', '-'], { input: script, failure: 'Could not apply firewall rules' });
}

/** Removes a table; one that is not there is no error. @param family 'inet', 'bridge', 'netdev' … */
export async function deleteNftTable(family: string, table: string): Promise<void> {
  await applyNft(`table ${family} ${table}\ndelete table ${family} ${table}\n`);
}

/** Names of the tables of a family. */
export async function listNftTables(family: string): Promise<string[]> {
  const answer = JSON.parse(String(await runOk('nft', ['-j', 'list', 'tables', family]))) as { nftables: { table?: { name: string } }[] };
  return answer.nftables.flatMap(({ table }) => (table ? [table.name] : []));
}
