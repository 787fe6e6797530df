/** A table of LXD's database as a SELECT over our own tables, by its name there. */
export type SqlViews = Readonly<Record<string, string>>;

const word = (name: string): RegExp => new RegExp(`\\b${name}\\b`, 'i');

/**
 * The same SELECT over LXD's tables: each one that it names becomes a common table expression, which hides a table of ours of the same name. A view's own
 * text says `main.TABLE` where it means ours.
 */
export function withViews(select: string, views: SqlViews): string {
  const named = Object.entries(views).filter(([name]) => word(name).test(select));
  if (named.length === 0) return select;
  const expressions = named.map(([name, text]) => `${name} AS (${text})`).join(', ');
  const own = /^\s*with\s+(recursive\s+)?/i.exec(select);
  return own ? `WITH ${own[1] ?? ''}${expressions}, ${select.slice(own[0].length)}` : `WITH ${expressions} ${select}`;
}
