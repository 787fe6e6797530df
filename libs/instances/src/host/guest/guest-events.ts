import type { ConfigMap, DevicesMap } from '#api-contract';

/** What a guest hears of. */
export interface GuestEvent {
  type: 'config' | 'device';
  metadata: Record<string, unknown>;
}

interface Listener {
  types: ReadonlySet<string>;
  /** One event as JSON. */
  send(text: string): void;
}

interface Expanded {
  expandedConfig: ConfigMap;
  expandedDevices: DevicesMap;
}

/** What an update means for the guest, in LXD's order: keys of user.*, then devices that went, changed and came. */
export function guestEvents(before: Expanded, after: Expanded, devices: { removed: string[]; updated: string[]; added: string[] }): GuestEvent[] {
  const keys = [...new Set([...Object.keys(before.expandedConfig), ...Object.keys(after.expandedConfig)])].filter((key) => key.startsWith('user.'));
  const config = keys.flatMap((key) => {
    const [old_value, value] = [before.expandedConfig[key] ?? '', after.expandedConfig[key] ?? ''];
    return old_value === value ? [] : [{ type: 'config' as const, metadata: { key, old_value, value } }];
  });
  const device = (action: string, names: string[], of: DevicesMap): GuestEvent[] =>
    names.map((name) => ({ type: 'device', metadata: { action, name, config: of[name] } }));
  return [
    ...config,
    ...device('removed', devices.removed, before.expandedDevices),
    ...device('updated', devices.updated, after.expandedDevices),
    ...device('added', devices.added, after.expandedDevices),
  ];
}

/** Who listens inside one instance. */
export class GuestListeners {
  readonly #listeners = new Set<Listener>();

  /** Until disposed of. */
  add(listener: Listener): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  tell({ type, metadata }: GuestEvent, at: Date): void {
    const text = JSON.stringify({ type, timestamp: at.toISOString(), metadata });
    for (const listener of this.#listeners) if (listener.types.has(type)) listener.send(text);
  }
}
