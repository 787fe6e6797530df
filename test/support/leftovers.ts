import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Instance } from '#api-contract';
import type { Server } from './server.js';

const instanceTypes = ['containers', 'virtual-machines'];

/**
 * All that a server has on the host and in its database, as sorted sentences that do not change while nothing happens: two surveys are equal exactly when
 * nothing came and nothing was left behind. Rows, directories, links and files of the state directory (not the contents of volumes), mounts, loop devices,
 * interfaces, processes, cgroups, intents of work that was cut off.
 */
export async function survey(server: Server): Promise<string[]> {
  const found = [
    ...onDisk(server.dir),
    ...mounts(server.dir),
    ...interfaces(server),
    ...processes(server),
    ...cgroups(server.dir),
    ...intents(server.dir),
  ];
  return [...found, ...(await rows(server))].sort();
}

/** What is not explained by rows of the API: after everything was deleted this must be empty. */
export function surplus(before: readonly string[], after: readonly string[]): { missing: string[]; left: string[] } {
  return { missing: before.filter((one) => !after.includes(one)), left: after.filter((one) => !before.includes(one)) };
}

export const hashOf = (dir: string): string => createHash('sha256').update(dir).digest('hex').slice(0, 6);

async function rows(server: Server): Promise<string[]> {
  const instances = await server.api.get<(Instance & { snapshots: { name: string }[] | null })[]>('/1.0/instances?recursion=2&all-projects=true');
  const found = instances.flatMap(({ name, status, ephemeral, snapshots }) => [
    `instance ${name} ${status}${ephemeral ? ' ephemeral' : ''}`,
    ...(snapshots ?? []).map((one) => `snapshot ${name}/${one.name}`),
  ]);
  for (const url of await server.api.get<string[]>('/1.0/storage-pools'))
    found.push(...(await server.api.get<string[]>(`${url}/volumes`)).map((volume) => `volume ${volume}`));
  found.push(...(await server.api.get<string[]>('/1.0/images')).map((image) => `image ${image}`));
  const running = await server.api.get<Record<string, string[]>>('/1.0/operations');
  return [...found, ...(running.running ?? []).map((operation) => `operation ${operation}`)];
}

function onDisk(dir: string): string[] {
  const found: string[] = [];
  const walk = (path: string, depth: number): void => {
    for (const entry of existsSync(join(dir, path)) ? readdirSync(join(dir, path), { withFileTypes: true }) : []) {
      const inner = join(path, entry.name);
      found.push(`on disk: ${inner}${entry.isSymbolicLink() ? ` → ${readlinkSync(join(dir, inner))}` : ''}`);
      if (entry.isDirectory() && depth > 1) walk(inner, depth - 1);
    }
  };
  for (const name of ['images', 'backups', 'containers', 'snapshots', 'virtual-machines', 'virtual-machines-snapshots', 'disks']) walk(name, 3);
  for (const name of ['devices', 'shmounts', 'logs']) walk(name, 1);
  for (const pool of existsSync(join(dir, 'storage-pools')) ? readdirSync(join(dir, 'storage-pools')) : []) {
    for (const kind of [...instanceTypes, 'custom', 'images']) {
      walk(join('storage-pools', pool, kind), 1);
      walk(join('storage-pools', pool, `${kind}-snapshots`), 2);
    }
  }
  return found;
}

function mounts(dir: string): string[] {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .filter((line) => line.includes(` ${dir}/`))
    .map((line) => `mount: ${line.split(' ').slice(1, 3).join(' ')}`);
}

/** Those of the server's bridge and those that bear its mark; names of pairs are made anew each time. */
function interfaces({ bridge, dir }: Server): string[] {
  const mark = `muster:${hashOf(dir)}:`;
  const read = (name: string, file: string): string => {
    try {
      return readFileSync(`/sys/class/net/${name}/${file}`, 'utf8').trim();
    } catch {
      return '';
    }
  };
  return readdirSync('/sys/class/net').flatMap((name) => {
    if (name === bridge) return ['bridge'];
    const [alias, of] = [read(name, 'ifalias'), read(name, 'brport/bridge/uevent').includes(`INTERFACE=${bridge}\n`)];
    return of || alias.startsWith(mark) ? [`interface ${alias.slice(mark.length)} ${of ? 'in the bridge' : ''}`] : [];
  });
}

function processes({ dir, pid: daemon }: Server): string[] {
  const lxc = `${hashOf(dir)}-`;
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== daemon)
    .flatMap((pid) => {
      try {
        // What has died and is not yet buried holds nothing.
        if (/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))) return [];
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
        if (line.includes('lxc monitor')) return line.includes(dir) ? [`process: ${line}`] : [];
        const inContainer = /\/lxc\.payload\.([^/\n]*)/.exec(readFileSync(`/proc/${pid}/cgroup`, 'utf8'))?.[1];
        if (inContainer?.startsWith(lxc)) return [`a process in ${inContainer}`];
        return line.includes(dir) && !line.includes('/vitest') ? [`process: ${line}`] : [];
      } catch {
        return [];
      }
    })
    .filter((one, index, all) => !one.startsWith('a process') || all.indexOf(one) === index);
}

function cgroups(dir: string): string[] {
  const found: string[] = [];
  const walk = (path: string, depth: number): void => {
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      if (!entry.isDirectory()) continue;
      if (entry.name.includes(`.${hashOf(dir)}-`)) found.push(`cgroup ${entry.name}`);
      else if (depth > 1) walk(join(path, entry.name), depth - 1);
    }
  };
  walk('/sys/fs/cgroup', 2);
  return [...new Set(found)];
}

/** Of work under way: none while nothing happens. */
function intents(dir: string): string[] {
  using database = new DatabaseSync(join(dir, 'local.db'), { readOnly: true });
  return ['instance_intents', 'storage_intents', 'transfer_intents', 'instances_outbox'].flatMap((table) =>
    database
      .prepare(`SELECT * FROM ${table}`)
      .all()
      .map((row) => `${table}: ${JSON.stringify(row)}`),
  );
}
