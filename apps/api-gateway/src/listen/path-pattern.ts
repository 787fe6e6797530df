/** `/1.0/operations/:id/websocket`, cut into its words. */
export type PathPattern = readonly string[];

export const pathPattern = (path: string): PathPattern => path.split('/');

/** The parameters if the path fits; a parameter is never empty and comes decoded. */
export function matchPath(pattern: PathPattern, path: string): Record<string, string> | undefined {
  const words = path.split('/');
  if (words.length !== pattern.length) return undefined;
  const params: Record<string, string> = {};
  for (const [at, wanted] of pattern.entries()) {
    const word = words[at]!;
    if (!wanted.startsWith(':')) {
      if (word !== wanted) return undefined;
      continue;
    }
    if (word === '') return undefined;
    try {
      params[wanted.slice(1)] = decodeURIComponent(word);
    } catch {
      return undefined;
    }
  }
  return params;
}
