// docs/reference/: config keys and API extensions, from their declarations. Needs a build. `--check` changes nothing and fails when a page is not fresh.
import { mkdirSync, readFileSync, readdirSync, existsSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { inRepository } from './lib/repository.mjs';

const check = process.argv.includes('--check');
const load = (path) => import(pathToFileURL(inRepository(`dist/${path}`)).href);
const { Keys } = await load('libs/config-keys/src/index.js');
const { apiExtensions } = await load('libs/api-contract/src/index.js');

const cell = (text) =>
  String(text ?? '')
    .replaceAll('|', '\\|')
    .replaceAll('\n', ' ');
const table = (head, rows) =>
  [`| ${head.join(' | ')} |`, `|${head.map(() => '---').join('|')}|`, ...rows.map((row) => `| ${row.map(cell).join(' | ')} |`)].join('\n');

async function keysPage() {
  const sets = new Map();
  for (const subject of readdirSync(inRepository('libs'))) {
    const door = `libs/${subject}/src/model/index.js`;
    if (!existsSync(inRepository(`dist/${door}`))) continue;
    for (const value of Object.values(await load(door))) if (value instanceof Keys) sets.set(value.entity, value);
  }
  const sections = [...sets.values()]
    .sort((a, b) => a.entity.localeCompare(b.entity))
    .map(({ entity, definitions }) => {
      const rows = Object.entries(definitions)
        .sort(([a], [b]) => a.localeCompare(b))
        .map(([key, { type, default: initial, scope, whileInUse, since, values, doc }]) => [
          `\`${key}\``,
          values ? values.join(', ') : type,
          initial,
          scope === 'member' ? 'each member' : '',
          whileInUse,
          since,
          doc.short,
        ]);
      return `## ${entity}\n\n${table(['key', 'type', 'default', 'scope', 'while in use', 'since', 'what'], rows)}`;
    });
  return `# Config keys\n\nMade by \`npm run generate\` from the declarations (\`defineKeys\`); edit those.\n\n${sections.join('\n\n')}\n`;
}

function extensionsPage() {
  const all = Object.entries(apiExtensions);
  const mine = all.filter(([, { spec }]) => spec !== undefined);
  const rows = all.map(([name, { status, spec }]) => [
    `\`${name}\``,
    spec === undefined ? '' : spec === name ? 'yes' : `yes, as ${spec}`,
    status === 'implemented' ? 'advertised' : '',
  ]);
  const done = (list) => list.filter(([, { status }]) => status === 'implemented').length;
  return `# API extensions\n\nMade by \`npm run generate\` from api-contract/api-extensions.ts. Advertised: ${done(all)} of ${all.length}; of the ${mine.length} that Muster's specification names, ${done(mine)}.\n\n${table(['extension', 'in the specification', 'state'], rows)}\n`;
}

let stale = 0;
mkdirSync(inRepository('docs/reference'), { recursive: true });
for (const [name, text] of [
  ['config-keys.md', await keysPage()],
  ['api-extensions.md', extensionsPage()],
]) {
  const path = inRepository(`docs/reference/${name}`);
  if (existsSync(path) && readFileSync(path, 'utf8') === text) continue;
  stale++;
  if (check) console.error(`docs/reference/${name} is not fresh: npm run generate`);
  else writeFileSync(path, text);
}
process.exit(check && stale > 0 ? 1 : 0);
