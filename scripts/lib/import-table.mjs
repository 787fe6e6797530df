// Who may import whom: the table of the house, enforced. Doors are package.json's "imports", so that reaching behind one does not even resolve; what is
// left to check is direction (floors), wings, and who may touch the machine.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';

/** From the ground up; subjects on one line may not import each other's state and host wings. */
const floors = [
  ['kit'],
  ['raft-ts', 'replica', 'api-contract', 'host-kit'],
  ['config-keys', 'members', 'http-kit'],
  ['events', 'warnings', 'identities'],
  ['projects', 'operations', 'server'],
  ['profiles', 'cluster', 'networks'],
  ['storage'],
  ['images'],
  ['devices'],
  ['instances'],
  ['transfer'],
  ['testkit'],
];
const floorOf = new Map(floors.flatMap((names, floor) => names.map((name) => [name, floor])));
const wings = ['model', 'state', 'http', 'host'];
const machine = /^(node:)?(fs|child_process|net|fs\/promises)$/;
const nest = /^@nestjs\//;

/** Exceptions, `FILE imports WHAT`; the list may only shrink. */
const exceptionsFile = 'scripts/lib/import-exceptions.txt';

export function checkImports(root) {
  const exceptions = new Set(
    existsSync(join(root, exceptionsFile))
      ? readFileSync(join(root, exceptionsFile), 'utf8')
          .split('\n')
          .filter((line) => line && !line.startsWith('#'))
      : [],
  );
  const problems = [];
  const used = new Set();
  for (const file of sources(root)) {
    for (const wanted of importsOf(readFileSync(join(root, file), 'utf8'))) {
      const why = objection(file, wanted);
      if (!why) continue;
      const line = `${file} imports ${wanted}`;
      if (exceptions.has(line)) used.add(line);
      else problems.push(`${line}: ${why}`);
    }
  }
  for (const line of exceptions) if (!used.has(line)) problems.push(`${exceptionsFile}: no longer needed: ${line}`);
  return problems;
}

function* sources(root, directory = '') {
  for (const top of directory ? [''] : ['apps', 'libs']) {
    const path = join(root, directory, top);
    if (!existsSync(path)) continue;
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      const file = join(path, entry.name);
      if (entry.isDirectory()) {
        if (!['node_modules', 'generated', 'bench'].includes(entry.name)) yield* sources(root, relative(root, file));
      } else if (entry.name.endsWith('.ts')) yield relative(root, file);
    }
  }
}

function importsOf(text) {
  return [...text.matchAll(/^\s*(?:import|export)\b[^'"`;]*?from\s+'([^']+)'|^\s*import\s+'([^']+)'|\bimport\('([^']+)'\)/gm)].map(
    (match) => match[1] ?? match[2] ?? match[3],
  );
}

function place(file) {
  const [kind, name, , wing] = file.split('/');
  return { app: kind === 'apps' ? name : undefined, lib: kind === 'libs' ? name : undefined, wing: wings.includes(wing) ? wing : undefined };
}

function objection(file, wanted) {
  const from = place(file);
  const isTest = /\.(spec|sim|it)\.ts$|\/testing\//.test(file) || from.lib === 'testkit';
  if (wanted === '#testkit') return isTest ? undefined : 'only specs and simulations may import testkit';
  if (from.app) {
    if (wanted.startsWith('#apps/') && from.app !== 'muster' && !isTest) return 'only apps/muster puts apps together';
    return undefined;
  }
  if (wanted.startsWith('#apps/') && from.lib !== 'testkit') return 'a library knows no app';
  if (isTest) return undefined;
  if (from.lib === 'raft-ts')
    return wanted.startsWith('./') || wanted.startsWith('../') || wanted === '#kit/assert'
      ? undefined
      : 'raft-ts imports its own files and kit/assert only';
  if (wanted.startsWith('#')) return libraryObjection(from, wanted);
  if (nest.test(wanted) && !(from.wing === 'http' || from.lib === 'http-kit' || from.lib === 'members' || file.endsWith('.module.ts')))
    return 'only http wings, http-kit and module files know Nest';
  if (machine.test(wanted) && (from.wing === 'model' || from.wing === 'state' || from.wing === 'http'))
    return `${from.wing} does not touch the machine`;
  return undefined;
}

function libraryObjection(from, wanted) {
  const [name, door] = wanted.slice(1).split('/');
  if (name === from.lib) return 'inside a library imports are relative';
  const to = floorOf.get(name);
  const here = floorOf.get(from.lib);
  if (to === undefined) return 'no such door';
  if (name === 'http-kit') return from.wing === 'http' ? undefined : 'only http wings use http-kit';
  if (name === 'host-kit') return from.wing === 'host' || ['replica', 'host-kit'].includes(from.lib) ? undefined : 'only host wings use host-kit';
  // The contract of commands, identities and calls is types: members, http-kit and replica may know each other's.
  if (['replica', 'members', 'api-contract'].includes(name) && to <= 2)
    return from.wing === 'model' && name !== 'api-contract' ? 'model is pure' : undefined;
  if (to > here) return 'an import up a floor';
  if (!from.wing || !wings.includes(door)) return undefined;
  const allowed = { model: ['model'], state: ['model', 'state'], http: ['model', 'state', 'http'], host: ['model', 'state', 'host'] }[from.wing];
  return allowed.includes(door) ? undefined : `a ${from.wing} wing does not open a ${door} door`;
}
