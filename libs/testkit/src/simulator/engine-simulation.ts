/** One run of the replica profile, from a plan: engines, clients, troubles, then peace, then the reckoning. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Fault } from '#kit';
import type { Disk, EngineTests } from '#replica/engine';
import { type Command, internalIdentity } from '#replica/state';
import type { MemberId } from '#raft-ts';
import { EngineHost, type EngineWorld } from './engine-host.js';
import { violatedKeys, type Operation, type RegisterAction } from './linearizability.js';
import { Loop } from './loop.js';
import { Network } from './network.js';
import type { Fault as Trouble, Plan, Target } from './plan.js';
import { Random } from './random.js';
import type { Outcome } from './raft-simulation.js';
import { putRegister, setRole, swapRegister } from './registers-wing.js';
import { require, Violation } from './violation.js';
import { World } from './world.js';

const PEACE_MS = 60_000;
const TRACE_LINES = 400;
const GIVE_UP_MS = 4_000;

export interface EngineRunOptions {
  readonly tests?: EngineTests;
  readonly disk?: (disk: Disk) => Disk;
  readonly trace?: boolean;
}

export async function runReplicaPlan(plan: Plan, options: EngineRunOptions = {}): Promise<Outcome> {
  const directory = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'muster-sim-'));
  const simulation = new EngineSimulation(plan, options, directory);
  try {
    return await simulation.run();
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

interface Asked {
  readonly kind: 'read' | 'put' | 'swap' | 'would-swap';
  readonly key: number;
  readonly value: number;
  readonly expected: number;
  readonly submitId: string;
  readonly calledMs: number;
  open: number;
}

class EngineSimulation {
  private readonly world = new World();
  private readonly loop = new Loop(this.world);
  private readonly network: Network<(host: EngineHost) => void>;
  private readonly hosts = new Map<MemberId, EngineHost>();
  private readonly shared: EngineWorld;
  private readonly random: Random;
  private readonly history: Operation[] = [];
  private readonly lines: string[] = [];
  /** Index → the rows that whoever was there first had. */
  private readonly rows = new Map<number, string>();
  private readonly acknowledged: { readonly submitId: string; readonly index: number }[] = [];
  private failure: unknown;
  /** Gives up what is still being asked. */
  private readonly open = new Set<() => void>();
  private stopped = false;
  private rushUntilMs = 0;
  private values = 0;
  private readonly counts = { acknowledged: 0, refused: 0, unknown: 0, reads: 0, changes: 0 };

  constructor(
    private readonly plan: Plan,
    private readonly options: EngineRunOptions,
    directory: string,
  ) {
    this.random = new Random(`run ${plan.seed}`);
    this.network = new Network(this.world, this.random.fork('network'), plan.network, (to, deliver) => {
      const host = this.hosts.get(to);
      if (host && host.state !== 'gone') deliver(host);
    });
    this.shared = {
      world: this.world,
      loop: this.loop,
      plan,
      tests: options.tests ?? {},
      founders: Array.from({ length: plan.members }, (_, n) => n + 1),
      diskRules: options.disk ?? ((disk) => disk),
      send: (from, to, deliver) => this.network.send(from, to, deliver),
      applied: (member, index, rows) => this.applied(member, index, rows),
      trace: (member, what) => void (options.trace && this.trace(member, what())),
      failed: (error) => void (this.failure ??= error),
    };
    for (let id = 1; id <= plan.members + plan.learners; id++) {
      this.hosts.set(id, new EngineHost(this.shared, id, directory, this.random.fork(`member ${id}`)));
    }
  }

  async run(): Promise<Outcome> {
    const { plan, world } = this;
    using _taken = this.loop.takeOver();
    const unhandled = (error: unknown): void => void (this.failure ??= error);
    process.on('unhandledRejection', unhandled);
    try {
      for (const host of this.hosts.values()) host.start();
      for (let n = 1; n <= plan.clients; n++) this.client(n, this.random.fork(`client ${n}`));
      for (const trouble of plan.faults) world.at(trouble.atMs, () => this.strike(trouble));
      if (plan.learners > 0) world.at(600, () => this.change(plan.members + 1, 'learner'));
      await this.until(plan.durationMs, () => false);
      await this.peace();
      this.reckon();
    } catch (error) {
      this.failure ??= error;
    }
    const { failure } = this;
    const violation =
      failure === undefined || failure instanceof Violation
        ? failure
        : new Violation(failure instanceof Error ? failure.message.replaceAll(/\d+/g, 'N') : 'error', String((failure as Error)?.stack ?? failure));
    if (violation) this.trace(0, String(violation));
    for (const host of this.hosts.values()) host.end();
    await this.loop.settle();
    process.off('unhandledRejection', unhandled);
    return { violation, ranMs: world.nowMs, trace: this.lines, counts: this.summary(), history: this.history };
  }

  /** Lets things happen until then, or until `done`. */
  private async until(timeMs: number, done: () => boolean): Promise<void> {
    while (!done() && this.world.step(timeMs)) {
      await this.loop.settle();
      for (const host of this.hosts.values()) host.bury();
      if (this.failure !== undefined) throw this.failure;
    }
  }

  /** Whoever stands at an index has the same rows there, byte for byte: so each entry was applied on the state it was captured on. */
  private applied(member: MemberId, index: number, rows: string): void {
    const known = this.rows.get(index);
    if (known === undefined) this.rows.set(index, rows);
    else if (known !== rows)
      this.failure ??= new Violation('all replicas are equal at an index', `${member} at ${index}:\n${rows}\nagainst\n${known}`);
  }

  // — Clients —

  private client(id: number, random: Random): void {
    const { world, plan } = this;
    const known = new Map<number, number>();
    const rest = (): void => {
      if (this.stopped) return;
      world.after(world.nowMs < this.rushUntilMs ? 1 : random.skewed(1, 2 * plan.thinkMs + 2), () => {
        if (this.stopped) return;
        const key = random.below(plan.keys);
        const asked: Asked = {
          kind: random.pick(['read', 'put', 'put', 'swap', 'swap', 'would-swap'] as const),
          key,
          value: ++this.values,
          expected: random.chance(0.75) ? (known.get(key) ?? 0) : 1_000_000,
          submitId: `${id}-${this.values}`.padStart(32, '0'),
          calledMs: world.nowMs,
          open: 0,
        };
        this.ask(asked, random, known, rest);
      });
    };
    rest();
  }

  private ask(asked: Asked, random: Random, known: Map<number, number>, next: () => void): void {
    const { world } = this;
    let over = false;
    const end = (action: RegisterAction | undefined, returnedMs = world.nowMs): void => {
      if (over) return;
      over = true;
      this.open.delete(giveUp);
      if (action) this.history.push({ key: asked.key, action, calledMs: asked.calledMs, returnedMs });
      next();
    };
    const giveUp = (): void => {
      this.counts.unknown++;
      if (asked.open === 0) return end(undefined);
      if (asked.kind === 'put') end({ kind: 'write', value: asked.value }, Infinity);
      else if (asked.kind === 'swap') end({ kind: 'swap-unknown', expected: asked.expected, value: asked.value }, Infinity);
      else end(undefined);
    };
    const attempt = (): void => {
      if (over) return;
      if (world.nowMs - asked.calledMs > GIVE_UP_MS || this.stopped) return giveUp();
      const host = random.pick([...this.hosts.values()].filter(({ state }) => state !== 'gone'));
      const patience = world.after(random.between(600, 2_500), attempt);
      const again = (): void => {
        patience.cancel();
        world.after(random.skewed(5, 150), attempt);
      };
      if (host.state !== 'up') return again();
      asked.open++;
      host.ask((engine) => {
        this.put(engine, host, asked, (answer) => {
          if (over) return;
          if (answer === 'not done') {
            asked.open--;
            return again();
          }
          if (answer === 'unknown') return again();
          patience.cancel();
          if ('found' in answer) known.set(asked.key, answer.found);
          end(answer.action);
        });
      });
    };
    this.open.add(giveUp);
    attempt();
  }

  /** One question to one engine. */
  private put(
    engine: NonNullable<EngineHost['engine']>,
    host: EngineHost,
    asked: Asked,
    answer: (told: 'not done' | 'unknown' | { readonly action: RegisterAction; readonly found: number }) => void,
  ): void {
    const { key, value, expected, submitId, kind } = asked;
    const wrong = (error: unknown): void => void (this.failure ??= error);
    const refused = (error: unknown): void => {
      const fault = Fault.from(error);
      const found = /^The register holds (\d+)$/.exec(fault.message)?.[1];
      if (found !== undefined) {
        this.counts.refused++;
        const held = Number(found);
        answer({
          action: kind === 'swap' ? { kind: 'swap', expected, value, done: false, found: held } : { kind: 'read', value: held },
          found: held,
        });
      } else if (fault.kind !== 'unavailable')
        this.failure ??= new Violation('a command fails only as its handler says', String(fault.detail ?? fault));
      else answer((fault.metadata as { submitId?: string } | undefined)?.submitId === undefined ? 'not done' : 'unknown');
    };
    if (kind === 'read') {
      engine
        .barrier()
        .then(() => {
          this.counts.reads++;
          const held = host.value(key);
          answer({ action: { kind: 'read', value: held }, found: held });
        }, refused)
        .catch(wrong);
      return;
    }
    const command = (kind === 'put' ? putRegister : swapRegister) as Command;
    const payload = kind === 'put' ? { key, value } : { key, value, expected };
    const request = { name: command.name, payload: JSON.stringify(payload), identity: internalIdentity, submitId, requestId: 'r', timeoutMs: 2_000 };
    if (kind === 'would-swap') {
      engine
        .dryRun({ ...request, submitId: `${submitId.slice(1)}d` })
        .then(() => answer({ action: { kind: 'read', value: expected }, found: expected }), refused)
        .catch(wrong);
      return;
    }
    engine
      .submit(request)
      .then((outcome) => {
        if (outcome.kind !== 'applied') return;
        this.counts.acknowledged++;
        this.acknowledged.push({ submitId, index: outcome.index });
        const found = (JSON.parse(outcome.result) as { found: number }).found;
        if (kind === 'swap' && found !== expected) this.failure ??= new Violation('a swap finds what it expects', `${found} for ${expected}`);
        // Whoever was asked reads its own write.
        require(engine.status().applied >= outcome.index, 'an answer comes when it is applied');
        answer({ action: kind === 'put' ? { kind: 'write', value } : { kind: 'swap', expected, value, done: true }, found: value });
      }, refused)
      .catch(wrong);
  }

  // — Troubles —

  private get living(): EngineHost[] {
    return [...this.hosts.values()].filter(({ state }) => state !== 'gone');
  }

  private get leader(): EngineHost | undefined {
    return this.living
      .filter(({ engine, paused }) => engine?.status().role === 'leader' && !paused)
      .sort((a, b) => (b.engine?.status().term ?? 0) - (a.engine?.status().term ?? 0))[0];
  }

  private find(target: Target): EngineHost {
    const { living } = this;
    return (target === 'leader' ? this.leader : undefined) ?? (living[(target === 'leader' ? 0 : target) % living.length] as EngineHost);
  }

  private strike(trouble: Trouble): void {
    const { world, network } = this;
    const host = this.find(trouble.target);
    const until = 'forMs' in trouble ? world.nowMs + trouble.forMs : 0;
    const others = (mask: number): EngineHost[] => this.living.filter((other, n) => other !== host && (mask >> (n % 8)) & 1);
    this.shared.trace(host.id, () => `! ${JSON.stringify(trouble)}`);
    switch (trouble.kind) {
      case 'crash':
        return host.crashAfter(trouble.effects, trouble.downMs, trouble.power);
      case 'pause':
        host.pause(trouble.clockStands);
        return void world.at(until, () => host.resume());
      case 'slow-disk':
        host.pause(false);
        return void world.after(trouble.syncMs, () => host.resume());
      case 'cut':
        for (const other of others(trouble.others)) {
          if (trouble.way !== 'out') network.cut(other.id, host.id, until);
          if (trouble.way !== 'in') network.cut(host.id, other.id, until);
        }
        return;
      case 'slow-link':
        for (const other of others(trouble.others)) {
          if (trouble.way !== 'out') network.slowDown(other.id, host.id, until, trouble.delayMs);
          if (trouble.way !== 'in') network.slowDown(host.id, other.id, until, trouble.delayMs);
        }
        return;
      case 'full-disk':
        host.disk.full = true;
        return void world.at(until, () => (host.disk.full = false));
      case 'disk-error':
        host.disk.failNext = trouble.call;
        return;
      case 'drift':
        return host.clock.run(trouble.rate);
      case 'jump':
        return host.clock.jump(trouble.ms);
      case 'transfer':
        return host.ask((engine) => void engine.transferLeadership().catch(() => {}));
      case 'compact':
        return host.ask((engine) => void engine.compact().catch(() => {}));
      case 'change':
        if (this.plan.learners > 0) this.change(this.plan.members + 1, trouble.joint ? 'voter' : 'spare');
        return;
      case 'rush':
        this.rushUntilMs = until;
        return;
      default:
    }
  }

  private change(id: number, role: 'voter' | 'learner' | 'spare'): void {
    const { leader } = this;
    if (!leader) return void (this.stopped || this.world.after(500, () => this.change(id, role)));
    this.counts.changes++;
    const submitId = `role-${this.counts.changes}`.padStart(32, '0');
    const request = {
      name: setRole.name,
      payload: JSON.stringify({ id, role }),
      identity: internalIdentity,
      submitId,
      requestId: 'r',
      timeoutMs: 2_000,
    };
    leader.ask((engine) => void engine.submit(request).catch(() => {}));
  }

  // — The end —

  private async peace(): Promise<void> {
    const { world } = this;
    this.stopped = true;
    for (const giveUp of this.open) giveUp();
    this.network.heal();
    for (const host of this.living) {
      host.disk.full = false;
      host.disk.failNext = undefined;
      host.resume();
      host.clock.run(1);
    }
    const calledMs = world.nowMs;
    const value = 999_999_999;
    const submitId = 'f'.repeat(32);
    const payload = JSON.stringify({ key: 0, value });
    const request = { name: putRegister.name, payload, identity: internalIdentity, submitId, requestId: 'r', timeoutMs: 2_000 };
    let answered = false;
    let done = false;
    const look = (): void => {
      if (done) return;
      world.after(200, look);
      const { leader } = this;
      if (!leader) return;
      if (!answered) {
        leader.ask((engine) => {
          engine.submit(request).then(
            () => {
              if (answered) return;
              answered = true;
              this.history.push({ key: 0, action: { kind: 'write', value }, calledMs, returnedMs: world.nowMs });
            },
            () => {},
          );
        });
        return;
      }
      const applied = leader.engine?.status().applied;
      const members = this.living.filter(({ id }) => id <= this.plan.members || this.joined(leader, id));
      done = members.every(({ state, engine }) => state === 'up' && engine?.status().applied === applied && engine?.status().stopped === undefined);
    };
    look();
    await this.until(calledMs + PEACE_MS, () => done);
    require(done, 'in peace there is a leader, commands are done, and all members catch up', () =>
      this.living.map(({ id, state, engine }) => `${id} ${state} ${JSON.stringify(engine?.status())}`).join('\n'));
  }

  private joined(leader: EngineHost, id: MemberId): boolean {
    return leader.engine?.status().peers?.some((peer) => peer.id === id) ?? false;
  }

  private reckon(): void {
    const { leader, world } = this;
    if (!leader) throw new Violation('there is a leader in the end');
    const rows = leader.rows();
    for (const host of this.living) {
      if (host.id > this.plan.members && !this.joined(leader, host.id)) continue;
      host.checkRunning();
      require(host.rows() === rows, 'all replicas are equal in the end', () => `${host.id}:\n${host.rows()}\nagainst\n${rows}`);
    }
    const submits = /^submits (.*)$/m.exec(rows)?.[1] ?? '[]';
    const entries = new Map((JSON.parse(submits) as { id: string; entry: number }[]).map(({ id, entry }) => [id, entry]));
    for (const { submitId, index } of this.acknowledged)
      require(entries.get(submitId) === index, 'what was acknowledged is there, once, at the index that was told', () =>
        `${submitId} at ${index}, is at ${entries.get(submitId)}`);
    for (let key = 0; key < this.plan.keys; key++)
      this.history.push({ key, action: { kind: 'read', value: leader.value(key) }, calledMs: world.nowMs, returnedMs: world.nowMs });
    const keys = violatedKeys(this.history);
    require(keys.length === 0, 'the history of the clients is linearizable', () => `register ${keys.join()}`);
  }

  private summary(): Record<string, number> {
    const counts: Record<string, number> = { ...this.counts, entries: this.rows.size, messages: this.network.carried };
    for (const host of this.hosts.values()) for (const [name, count] of Object.entries(host.counts)) counts[name] = (counts[name] ?? 0) + count;
    return counts;
  }

  private trace(member: MemberId, what: string): void {
    this.lines.push(`${this.world.nowMs.toFixed(1).padStart(9)} ${member === 0 ? ' ' : member} ${what}`);
    if (this.lines.length > 2 * TRACE_LINES) this.lines.splice(0, TRACE_LINES);
  }
}
