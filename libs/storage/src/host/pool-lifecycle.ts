import { KeyedLocks, Undo } from '#kit';
import type { CallContext, HostContext } from '#members';
import type { SubmitOptions } from '#replica';
import * as state from '../state/index.js';
import type { Intents } from './intents.js';
import type { Pools } from './pools.js';

export interface NewPool {
  name: string;
  driver: string;
  description: string;
  config: Record<string, string>;
}

/** Making, changing and removing pools: rows and disks together. One at a time a pool. */
export class PoolLifecycle {
  readonly #locks = new KeyedLocks();

  constructor(
    private readonly context: HostContext,
    private readonly pools: Pools,
    private readonly intents: Intents,
  ) {}

  create(given: NewPool, call: CallContext): Promise<void> {
    const { name, driver } = given;
    const { replica, server, log } = this.context;
    const as = optionsOf(call);
    return this.#locks.hold([name], async () => {
      await replica.submit(state.definePool, { ...given, memberId: server.memberId }, as);
      await this.intents.during({ kind: 'create-pool', pool: name, made: false }, async (update) => {
        await using undo = new Undo(log);
        undo.add('row', () => replica.submit(state.forgetPool, { name }, as));
        const config = await this.pools.make(name, driver, given.config, () => update({ kind: 'create-pool', pool: name, made: true }));
        undo.add('pool', () => this.pools.destroy(name, driver, config));
        await replica.submit(state.poolMade, { name, memberId: server.memberId, config }, as);
        undo.drop();
      });
    });
  }

  /** A pool that the cluster has and this member has not yet. `own`: its member-specific keys here. */
  async join(name: string, own: Record<string, string>, call: CallContext): Promise<void> {
    const { replica, server } = this.context;
    await replica.submit(state.definePoolOn, { name, memberId: server.memberId, config: own }, optionsOf(call));
    await this.makeHere(name, call);
  }

  /** This member's part of a pool that is defined for it. Made already is success; a failure leaves nothing on disk, and the definition as it was. */
  makeHere(name: string, call: CallContext): Promise<void> {
    const { replica, server, log } = this.context;
    const { memberId } = server;
    return this.#locks.hold([name], async () => {
      const record = state.pool(replica.reader, name);
      if (record.members.find((one) => one.memberId === memberId)?.state === 'created') return;
      await this.intents.during({ kind: 'make-pool', pool: name, made: false }, async (update) => {
        await using undo = new Undo(log);
        const wanted = state.configOn(record, memberId);
        const made = await this.pools.make(name, record.driver, wanted, () => update({ kind: 'make-pool', pool: name, made: true }));
        undo.add('pool', () => this.pools.destroy(name, record.driver, made));
        await replica.submit(state.poolMade, { name, memberId, config: made }, optionsOf(call));
        undo.drop();
      });
    });
  }

  /** What this member has of a pool goes; the cluster keeps the pool. Safe to repeat. */
  leave(name: string): Promise<void> {
    const { replica, server } = this.context;
    return this.#locks.hold([name], async () => {
      const record = state.pool(replica.reader, name);
      if (record.members.some(({ memberId }) => memberId === server.memberId)) {
        await this.pools.destroy(name, record.driver, state.configOn(record, server.memberId));
      }
    });
  }

  /** The disk first, so that what cannot be done is never recorded. */
  update(name: string, put: { description: string; config: Record<string, string> }, ifMatch: string | undefined, call: CallContext): Promise<void> {
    const { replica, server } = this.context;
    return this.#locks.hold([name], async () => {
      const record = state.pool(replica.reader, name);
      state.checkPoolChange(record, server.memberId, put.config, ifMatch);
      const before = state.configOn(record, server.memberId);
      await this.pools.update(name, put.config);
      try {
        await replica.submit(state.updatePool, { name, put, memberId: server.memberId, ifMatch }, optionsOf(call));
      } catch (error) {
        await this.pools
          .update(name, before)
          .catch((undoing: unknown) => this.context.log.error({ err: undoing, pool: name }, 'could not undo a pool change'));
        throw error;
      }
    });
  }

  remove(name: string, call: CallContext): Promise<void> {
    const { replica, server } = this.context;
    const as = optionsOf(call);
    return this.#locks.hold([name], async () => {
      const record = state.pool(replica.reader, name);
      await this.intents.during({ kind: 'remove-pool', pool: name }, async () => {
        // Once it is marked no volume can come; a crash from here on is finished at the next start.
        await replica.submit(state.beginPoolRemoval, { name }, as);
        try {
          await this.pools.destroy(name, record.driver, state.configOn(record, server.memberId));
        } catch (error) {
          await replica.submit(state.keepPool, { name }, as);
          throw error;
        }
        await replica.submit(state.forgetPool, { name }, as);
      });
    });
  }
}

const optionsOf = ({ identity, requestId }: CallContext): SubmitOptions => ({ identity, requestId });
