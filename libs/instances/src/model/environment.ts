/** PATH of a command, unless something else was asked for. */
const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * The environment of a command in an instance: what was asked for, else environment.* of the config, else what a login would have.
 * @param extraPaths directories that the instance's distribution adds to PATH
 */
export function execEnvironment(
  wanted: Readonly<Record<string, string>>,
  config: Readonly<Record<string, string>>,
  user: number,
  extraPaths: readonly string[] = [],
): Record<string, string> {
  const environment: Record<string, string> = { ...wanted };
  for (const [key, value] of Object.entries(config)) {
    if (key.startsWith('environment.')) environment[key.slice('environment.'.length)] ??= value;
  }
  environment.PATH ??= [defaultPath, ...extraPaths].join(':');
  if (user === 0) {
    environment.HOME ??= '/root';
    environment.USER ??= 'root';
  }
  environment.LANG ??= 'C.UTF-8';
  return environment;
}
