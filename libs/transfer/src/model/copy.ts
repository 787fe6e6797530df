/** Which config keys a copy has from its source: all but what is volatile, of which only the image, and on one server the ids on the disk, are true of it too. */
export function isCopiedKey(key: string, options: { remote: boolean }): boolean {
  if (key === 'volatile.base_image') return true;
  if (key === 'volatile.last_state.idmap') return !options.remote;
  return !key.startsWith('volatile.');
}

/** What was true of a run on another server only: names of interfaces on that host, power, the ids chosen there. It is not taken over, whatever else is. */
const ofARun = /^volatile\.(idmap\..*|last_state\.power|.+\.(host_name|last_state\..*))$/;

/** The config of an instance that comes from elsewhere with its volatile keys: a backup, a move. */
export const withoutRun = (config: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(config).filter(([key]) => !ofARun.test(key)));

/** A copy's config: what the request says, and else the source's. */
export function copiedConfig(source: Record<string, string>, requested: Record<string, string>): Record<string, string> {
  const kept = Object.entries(source).filter(([key]) => isCopiedKey(key, { remote: false }));
  return { ...Object.fromEntries(kept), ...requested };
}

export interface ComparedSnapshot {
  name: string;
  /** Milliseconds. */
  createdAt: number;
}

/** What a refresh does with snapshots: those of the source that the target lacks or has from another time are sent, what only the target has goes first. */
export function compareSnapshots<T extends ComparedSnapshot>(
  source: readonly T[],
  target: readonly ComparedSnapshot[],
): { send: T[]; remove: string[] } {
  // Servers exchange whole seconds.
  const key = ({ name, createdAt }: ComparedSnapshot): string => `${name}/${Math.floor(createdAt / 1000)}`;
  const [here, there] = [new Set(target.map(key)), new Set(source.map(key))];
  return { send: source.filter((one) => !here.has(key(one))), remove: target.filter((one) => !there.has(key(one))).map(({ name }) => name) };
}
