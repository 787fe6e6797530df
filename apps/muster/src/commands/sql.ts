import { Api } from '../api.js';
import type { Subcommand } from '../main.js';

interface Result {
  type: 'select' | 'exec';
  columns: string[];
  rows: unknown[][];
  rows_affected: number;
}

export const sql: Subcommand = {
  summary: 'Ask the database: sql local|global QUERY (- reads the query, .dump and .schema print it)',
  async run([database, query], dir) {
    if ((database !== 'local' && database !== 'global') || query === undefined) throw new Error('usage: muster sql local|global QUERY');
    const api = new Api(dir);
    if (query === '.dump' || query === '.schema') {
      const { Text } = await api.get<{ Text: string }>(`/internal/sql?database=${database}&schema=${query === '.schema' ? 1 : 0}`);
      process.stdout.write(Text);
      return 0;
    }
    const text = query === '-' ? await readStdin() : query;
    const { Results } = (await api.change('POST', '/internal/sql', { database, query: text })) as { Results: Result[] };
    for (const result of Results) {
      if (result.type === 'select') printTable(result.columns, result.rows);
      else console.log(`Rows affected: ${result.rows_affected}`);
    }
    return 0;
  },
};

async function readStdin(): Promise<string> {
  let text = '';
  for await (const chunk of process.stdin) text += String(chunk);
  return text;
}

function printTable(columns: string[], rows: unknown[][]): void {
  const cells = [columns, ...rows.map((row) => row.map((value) => (value === null ? '<nil>' : String(value))))];
  const widths = columns.map((_, at) => Math.max(...cells.map((row) => row[at]!.length)));
  const rule = `+${widths.map((width) => '-'.repeat(width + 2)).join('+')}+`;
  const line = (row: string[]): string => `| ${row.map((cell, at) => cell.padEnd(widths[at]!)).join(' | ')} |`;
  console.log([rule, line(columns), rule, ...cells.slice(1).map(line), rule].join('\n'));
}
