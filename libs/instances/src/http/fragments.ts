import type { Replica } from '#replica';
import { instances } from '../state/index.js';
import { instanceDocument, type MemberName } from './documents.js';

/** More than this many rendered rows are not kept: at some 2 KB each, tens of megabytes. */
const keptMax = 20_000;

/**
 * Each instance's document of recursion 1, rendered once and kept until apply touches what it was made of. A list of thousands is then a join of strings:
 * measured 4.3 ms against 7.3 ms by JSON.stringify, and far less garbage.
 */
export class Fragments implements Disposable {
  readonly #rendered = new Map<number, string>();
  readonly #watch: Disposable;

  constructor(
    private readonly replica: Replica,
    private readonly memberName: MemberName,
  ) {
    this.#watch = replica.watch(({ touched }) => {
      if (touched === 'everything') return this.#rendered.clear();
      for (const { table, ids } of touched) {
        if (table === 'instances') for (const id of ids) this.#rendered.delete(Number(id));
        // Which instances these reach is a query; changes of them are rare beside reads.
        else if (others.has(table)) this.#rendered.clear();
      }
    });
  }

  /** JSON of each, by id, in the order of `ids`. All in one turn, so of one state of the database. */
  of(ids: readonly number[]): string[] {
    const missing = ids.filter((id) => !this.#rendered.has(id));
    const made = new Map<number, string>();
    if (missing.length > 0) {
      for (const record of instances(this.replica.reader, missing.length > 100 ? {} : { ids: missing })) {
        made.set(record.id, JSON.stringify(instanceDocument(record, this.memberName)));
      }
      if (this.#rendered.size + made.size > keptMax) this.#rendered.clear();
      for (const [id, json] of made) this.#rendered.set(id, json);
    }
    return ids.map((id) => this.#rendered.get(id) ?? made.get(id)!);
  }

  [Symbol.dispose](): void {
    this.#watch[Symbol.dispose]();
  }
}

const others = new Set(['instance_profiles', 'profiles', 'cluster_members', 'projects']);
