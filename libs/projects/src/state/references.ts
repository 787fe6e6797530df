import type { CommandContext, Reader } from '#replica/state';

export type TargetKind = 'project' | 'profile' | 'pool' | 'network' | 'image' | 'volume' | 'acl';

/** The name under which a thing is referred to: `targetOf('profile', 'default', 'web')`, `targetOf('pool', 'local')`. */
export function targetOf(kind: TargetKind, ...path: string[]): string {
  return [kind, ...path.map(encodeURIComponent)].join('/');
}

/** What uses: its kind and id never change, its URL does with its name. */
export interface User {
  kind: string;
  id: number;
  url: string;
}

/** Step: makes `targets` exactly what `user` refers to. An empty list forgets the user. */
export function setReferences(ctx: CommandContext, user: User, targets: readonly string[]): void {
  const key = `${user.kind}/${user.id}`;
  ctx.sql.run('DELETE FROM entity_references WHERE user = ?', key);
  for (const target of new Set(targets)) ctx.sql.run('INSERT INTO entity_references (target, user, url) VALUES (?, ?, ?)', target, key, user.url);
}

/** Step: a target has a new name; who refers to it goes on doing so. */
export function renameTarget(ctx: CommandContext, before: string, after: string): void {
  ctx.sql.run('UPDATE entity_references SET target = ? WHERE target = ?', after, before);
}

/** URLs of what uses the target, in the order of their names. */
export function usedBy(reader: Reader, target: string): string[] {
  return reader.all<{ url: string }>('SELECT url FROM entity_references WHERE target = ? ORDER BY url', target).map(({ url }) => url);
}

export function isUsed(reader: Reader, target: string): boolean {
  return reader.get('SELECT 1 AS used FROM entity_references WHERE target = ? LIMIT 1', target) !== undefined;
}
