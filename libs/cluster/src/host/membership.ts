import type { ReadPort, WatchPort } from '#replica';
import { isClustered, members, memberAddresses, type MemberRecord } from '../state/index.js';

const tables = new Set(['cluster_members', 'cluster_groups', 'cluster_group_members']);

/** Who belongs to the cluster, and which of them this is: read when first asked for, and again after any change. */
export class Membership implements Disposable {
  #members: MemberRecord[] | undefined;
  #name: string | undefined;
  #clustered: boolean | undefined;
  readonly #listeners = new Set<() => void>();
  readonly #watch: Disposable;

  constructor(
    private readonly replica: ReadPort & WatchPort,
    /** Of this member in consensus. Changes when it joins a cluster or leaves one. */
    public selfId: number,
  ) {
    this.#watch = replica.watch(({ touched }) => {
      if (touched !== 'everything' && !touched.some(({ table }) => tables.has(table))) return;
      this.forget();
      for (const listener of this.#listeners) listener();
    });
  }

  forget(): void {
    this.#members = undefined;
    this.#name = undefined;
    this.#clustered = undefined;
  }

  /** Of this member; `none` when it stands alone. */
  get name(): string {
    return (this.#name ??= memberAddresses(this.replica.reader).find(({ id }) => id === this.selfId)?.name ?? 'none');
  }

  get clustered(): boolean {
    return (this.#clustered ??= isClustered(this.replica.reader));
  }

  /** All but those that are just joining, by name. Empty when this server stands alone. */
  get members(): readonly MemberRecord[] {
    return (this.#members ??= members(this.replica.reader));
  }

  get others(): readonly MemberRecord[] {
    return this.members.filter(({ id }) => id !== this.selfId);
  }

  byId(id: number): MemberRecord | undefined {
    return this.members.find((one) => one.id === id);
  }

  byName(name: string): MemberRecord | undefined {
    return this.members.find((one) => one.name === name);
  }

  /** Called after each change, in the main thread. */
  onChange(listener: () => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  [Symbol.dispose](): void {
    this.#watch[Symbol.dispose]();
  }
}
