import { readFileSync } from 'node:fs';

const names = new Map<number, string>();

/** Name of a local user; `uid=N` when /etc/passwd does not have it, as LXD words it. */
export function userName(uid: number): string {
  let name = names.get(uid);
  if (name === undefined) {
    name = lookUp('/etc/passwd', String(uid)) ?? `uid=${uid}`;
    if (names.size > 1000) names.clear();
    names.set(uid, name);
  }
  return name;
}

/** Id of a local group by name. */
export function groupId(name: string): number | undefined {
  const line = lines('/etc/group').find((fields) => fields[0] === name);
  return line?.[2] === undefined ? undefined : Number(line[2]);
}

const lookUp = (file: string, id: string): string | undefined => lines(file).find((fields) => fields[2] === id)?.[0];

function lines(file: string): string[][] {
  try {
    return readFileSync(file, 'utf8')
      .split('\n')
      .map((line) => line.split(':'));
  } catch {
    return [];
  }
}
