export const defaultProject = 'default';

/** `/1.0/profiles/a%20b?project=p`: the API's URL of an object, project left out when default. */
export function apiUrl(segments: readonly string[], project?: string, query: Record<string, string> = {}): string {
  const search = new URLSearchParams(project && project !== defaultProject ? { project, ...query } : query).toString();
  return `/1.0/${segments.map(encodeURIComponent).join('/')}${search ? `?${search}` : ''}`;
}
