import { randomUUID } from 'node:crypto';
import type { Clock, Logger } from '#kit';
import type { SubmitPort } from '#replica';
import { internalIdentity } from '#replica/state';
import { type WarningType, warningTypes } from '../model/index.js';
import { resolveWarnings, upsertWarning } from '../state/index.js';

/** What a warning is about, on this member. */
export interface About {
  /** Absent: no project. */
  project?: string;
  /** URL of the thing: `/1.0/instances/c1?project=p`. Absent: the member itself. */
  entityUrl?: string;
}

/** Warnings of this member, for all host wings. Both calls return at once and never fail: a warning must not break the work that it speaks of. */
export interface Warnings {
  raise(type: WarningType, message: string, about?: About): void;
  /** It is over. Without `about`, for every thing that this member warned about. */
  resolve(type: WarningType, about?: About): void;
}

/** The same again within this time is not told: a loop that fails every second says it once. */
const sameAgainMs = 60_000;

/** Submits under way; beyond that new ones are only logged. */
const underWayMax = 64;
/** Things remembered; beyond that the oldest is forgotten, and may be told again early. */
const rememberedMax = 1_000;

export class MemberWarnings implements Warnings {
  readonly #told = new Map<string, { message: string; atMs: number }>();
  #underWay = new Set<Promise<void>>();

  constructor(private readonly options: { replica: SubmitPort; clock: Clock; log: Logger; member: () => string }) {}

  raise(type: WarningType, message: string, about: About = {}): void {
    const { clock, log, member } = this.options;
    const key = JSON.stringify([type, about.project, about.entityUrl]);
    const last = this.#told.get(key);
    const nowMs = clock.monotonicMs();
    if (last?.message === message && nowMs - last.atMs < sameAgainMs) return;
    this.#told.delete(key);
    this.#told.set(key, { message, atMs: nowMs });
    if (this.#told.size > rememberedMax) this.#told.delete(this.#told.keys().next().value!);
    log.warn({ warning: warningTypes[type].name, ...about }, message);
    const subject = { member: member(), project: about.project ?? '', entityUrl: about.entityUrl ?? '', type: warningTypes[type].code };
    this.#submit(() => this.options.replica.submit(upsertWarning, { ...subject, uuid: randomUUID(), message }, { identity: internalIdentity }));
  }

  resolve(type: WarningType, about?: About): void {
    for (const key of this.#told.keys()) {
      const [told, project, entityUrl] = JSON.parse(key) as [string, string | null, string | null];
      if (told === type && (!about || ((about.project ?? null) === project && (about.entityUrl ?? null) === entityUrl))) this.#told.delete(key);
    }
    const which = about ? { project: about.project ?? '', entityUrl: about.entityUrl ?? '' } : {};
    const payload = { member: this.options.member(), type: warningTypes[type].code, ...which };
    this.#submit(() => this.options.replica.submit(resolveWarnings, payload, { identity: internalIdentity }));
  }

  /** Resolves when what was said so far is recorded, or could not be. */
  async settled(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  #submit(work: () => Promise<unknown>): void {
    if (this.#underWay.size >= underWayMax) return;
    const done: Promise<void> = work()
      .catch((error: unknown) => this.options.log.error({ err: error }, 'could not record a warning'))
      .then(() => void this.#underWay.delete(done));
    this.#underWay.add(done);
  }
}
