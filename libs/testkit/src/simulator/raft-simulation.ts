/** One run of the raft profile, from a plan: members, clients, troubles, then peace, then the reckoning. */
import type { Disk, LogRules } from '#replica/engine';
import { defaultTimers, isVoter, membersOf, noConfiguration, type Configuration, type MemberId, type Message, type Rules } from '#raft-ts';
import { Client } from './clients.js';
import { hostRules, type HostRules } from './host-rules.js';
import { violatedKeys, type Operation } from './linearizability.js';
import { Network } from './network.js';
import { Observer } from './observer.js';
import type { Fault, Plan, Target } from './plan.js';
import { RaftHost, type HostWorld } from './raft-host.js';
import { Random } from './random.js';
import { registerOf } from './toy-machine.js';
import { require, Violation } from './violation.js';
import { World } from './world.js';

/** A run that is not at peace after so long, once nothing disturbs it any more, never will be. */
const PEACE_MS = 40_000;
const TRACE_LINES = 400;

/** What is broken on purpose, to see whether it is noticed. */
export interface Mutation {
  readonly raft?: Partial<Rules>;
  readonly host?: Partial<HostRules>;
  readonly log?: Partial<LogRules>;
  readonly disk?: (disk: Disk) => Disk;
  /** What its seeds are made to have, where the rule is of use in few runs only. */
  readonly focus?: Partial<Plan>;
}

export interface RunOptions {
  readonly mutation?: Mutation;
  /** Keeps the last lines of what happened. */
  readonly trace?: boolean;
}

export interface Outcome {
  readonly violation: Violation | undefined;
  /** Of virtual time. */
  readonly ranMs: number;
  readonly trace: readonly string[];
  readonly counts: Readonly<Record<string, number>>;
  readonly history: readonly Operation[];
}

export function runRaftPlan(plan: Plan, options: RunOptions = {}): Outcome {
  return new RaftSimulation(plan, options).run();
}

class RaftSimulation {
  private readonly world = new World();
  private readonly observer = new Observer(defaultTimers.promiseMs);
  private readonly network: Network<Message>;
  private readonly hosts = new Map<MemberId, RaftHost>();
  private readonly shared: HostWorld;
  private readonly random: Random;
  private readonly clients: Client[] = [];
  private readonly history: Operation[] = [];
  private readonly lines: string[] = [];
  private failure: unknown;
  private nextMember: number;
  private rushUntilMs = 0;
  private counts = { transfers: 0, changes: 0, putBack: 0, reincarnated: 0 };

  constructor(
    private readonly plan: Plan,
    options: RunOptions,
  ) {
    this.random = new Random(`run ${plan.seed}`);
    this.network = new Network(this.world, this.random.fork('network'), plan.network, (to, message) => this.hosts.get(to)?.receive(message));
    this.shared = {
      world: this.world,
      plan,
      observer: this.observer,
      rules: options.mutation?.raft ?? {},
      hosts: () => this.hosts,
      hostRules: { ...hostRules, ...options.mutation?.host },
      diskRules: options.mutation?.disk ?? ((disk) => disk),
      logRules: options.mutation?.log ?? {},
      send: (from, message) => {
        if (options.trace) this.trace(from, `→ ${message.to} ${brief(message)}`);
        this.network.send(from, message.to, message);
      },
      died: (id) => {
        for (const other of this.living) if (other.id !== id) this.world.after(1, () => other.unreachable(id));
      },
      elected: (id, term) => this.checkElection(id, term),
      trace: (member, what) => void (options.trace && this.trace(member, what())),
      failed: (error) => void (this.failure ??= error),
    };
    const voters = Array.from({ length: plan.members }, (_, n) => n + 1);
    const learners = Array.from({ length: plan.learners }, (_, n) => plan.members + n + 1);
    this.nextMember = plan.members + plan.learners + 1;
    for (const id of [...voters, ...learners]) this.add(id, { ...noConfiguration, voters, learners });
    for (let n = 1; n <= plan.clients; n++) {
      this.clients.push(
        new Client(
          {
            world: this.world,
            plan,
            served: () => this.living,
            rushUntilMs: () => this.rushUntilMs,
            operated: (operation) => this.history.push(operation),
          },
          n,
          this.random.fork(`client ${n}`),
        ),
      );
    }
    for (const fault of plan.faults) this.world.at(fault.atMs, () => this.strike(fault));
    this.nurse();
  }

  run(): Outcome {
    try {
      while (this.world.step(this.plan.durationMs)) this.check();
      this.peace();
      this.reckon();
    } catch (error) {
      this.failure ??= error;
    }
    const { failure } = this;
    const violation =
      failure === undefined || failure instanceof Violation
        ? failure
        : new Violation(
            failure instanceof Error ? `${failure.name}: ${failure.message.replaceAll(/\d+/g, 'N')}` : 'error',
            String((failure as Error)?.stack ?? failure),
          );
    if (violation) this.trace(0, String(violation));
    return { violation, ranMs: this.world.nowMs, trace: this.lines, counts: this.summary(), history: this.history };
  }

  private check(): void {
    if (this.failure !== undefined) throw this.failure;
    if (this.plan.leases) this.checkLeases();
  }

  /** Two that could both answer from a lease at this moment. */
  private checkLeases(): void {
    let holder: RaftHost | undefined;
    for (const host of this.hosts.values()) {
      if (!host.holdsLease) continue;
      require(holder === undefined, 'a lease is held by one at a time', () => `${holder?.id} and ${host.id}`);
      holder = host;
    }
  }

  /** A lease says that nobody else can be elected while it runs. */
  private checkElection(id: MemberId, term: number): void {
    if (!this.plan.leases) return;
    for (const host of this.hosts.values())
      require(host.id === id || !host.holdsLease, 'nobody is elected while a lease runs', () => `${id} in term ${term}, ${host.id} holds a lease`);
  }

  // — Members —

  private add(id: MemberId, configuration: Configuration): RaftHost {
    const host = new RaftHost(this.shared, id, configuration, this.random.fork(`member ${id}`));
    this.hosts.set(id, host);
    host.disk.syncMs = () => this.random.skewed(this.plan.syncMs / 2, this.plan.syncMs * 2);
    host.clock.run(1 + (this.random.between(-1, 1) * this.plan.driftPercent) / 100);
    host.start();
    return host;
  }

  private get living(): RaftHost[] {
    return [...this.hosts.values()].filter(({ state }) => state !== 'gone');
  }

  private get leader(): RaftHost | undefined {
    let leader: RaftHost | undefined;
    let term = 0;
    for (const host of this.hosts.values()) {
      if (host.role !== 'leader' || !host.node || host.paused) continue;
      const status = host.node.status();
      if (status.role === 'leader' && status.term > term) [leader, term] = [host, status.term];
    }
    return leader;
  }

  private find(target: Target): RaftHost {
    const { living } = this;
    return (target === 'leader' ? this.leader : undefined) ?? (living[(target === 'leader' ? 0 : target) % living.length] as RaftHost);
  }

  private get configuration(): Configuration {
    return this.leader?.node?.status().configuration ?? noConfiguration;
  }

  /** A second member may only be lost when the first has come back: more than that no log survives. */
  private mayLose(host: RaftHost): boolean {
    const { configuration } = this;
    if (configuration.voters.length === 0) return false;
    const sick = this.living.some((other) => other.state === 'damaged' || other.forgetful || other.rotten);
    return !sick && (!isVoter(configuration, host.id) || configuration.voters.length > 2) && configuration.outgoing.length === 0;
  }

  // — Troubles —

  private strike(fault: Fault): void {
    const { world, network } = this;
    const host = this.find(fault.target);
    const until = 'forMs' in fault ? world.nowMs + fault.forMs : 0;
    const others = (mask: number): RaftHost[] => this.living.filter((other, n) => other !== host && (mask >> (n % 8)) & 1);
    this.shared.trace(host.id, () => `! ${JSON.stringify(fault)}`);
    switch (fault.kind) {
      case 'crash':
        return host.crashAfter(fault.effects, fault.downMs, fault.power);
      case 'pause':
        host.pause(fault.clockStands);
        return void world.at(until, () => host.resume());
      case 'cut':
        for (const other of others(fault.others)) {
          if (fault.way !== 'out') network.cut(other.id, host.id, until);
          if (fault.way !== 'in') network.cut(host.id, other.id, until);
        }
        return;
      case 'slow-link':
        for (const other of others(fault.others)) {
          if (fault.way !== 'out') network.slowDown(other.id, host.id, until, fault.delayMs);
          if (fault.way !== 'in') network.slowDown(host.id, other.id, until, fault.delayMs);
        }
        return;
      case 'slow-disk':
        host.disk.syncMs = () => (world.nowMs < until ? fault.syncMs : this.plan.syncMs);
        return;
      case 'hung-disk':
        host.disk.hangsUntilMs = until;
        return;
      case 'full-disk':
        host.disk.full = true;
        return void world.at(until, () => (host.disk.full = false));
      case 'disk-error':
        host.disk.failNext = fault.call;
        return;
      case 'rot':
        if (this.mayLose(host) && host.state === 'up') host.rotten = host.disk.rot();
        return;
      case 'put-back':
        return this.putBack(host, fault.forMs);
      case 'drift':
        return host.clock.run(fault.rate);
      case 'jump':
        return host.clock.jump(fault.ms);
      case 'transfer':
        this.counts.transfers += Number(host.transfer());
        return;
      case 'change':
        return this.change(fault.dice, fault.joint);
      case 'compact':
        return host.compact(fault.hard);
      case 'demote':
        host.setPromotable(false);
        return void world.at(until, () => host.setPromotable(true));
      case 'sick':
        // With nobody well there is nobody to get a snapshot from.
        if (this.mayLose(host) && !this.living.some(({ sick }) => sick)) host.fallSick();
        return;
      case 'rush':
        this.rushUntilMs = until;
    }
  }

  /** The disk of a member is put back to before its last start, once everybody has met that start. */
  private putBack(host: RaftHost, forMs: number): void {
    if (host.state !== 'up' || !this.mayLose(host)) return;
    const image = host.image();
    host.die({ downMs: 10, power: true });
    const { starts } = host;
    const tryIt = (): void => {
      if (host.state !== 'up' || host.starts !== starts + 1 || this.world.nowMs > this.plan.durationMs || !this.mayLose(host)) return;
      const met = this.living.every((other) => other === host || other.log?.state.peerBoots[host.id]?.endsWith(`/${host.id}-${host.starts}`));
      if (!met) return void this.world.after(100, tryIt);
      this.counts.putBack++;
      host.putBack(image);
    };
    this.world.after(200 + forMs, tryIt);
  }

  private change(dice: readonly number[], joint: boolean): void {
    const { leader, configuration } = this;
    // While one is being nursed, those that are left are needed.
    if (!leader || this.living.some((host) => host.state === 'damaged' || host.forgetful || host.rotten)) return;
    const known = membersOf(configuration);
    const roles = ['voter', 'learner', 'spare'] as const;
    const at = (n: number, of: number): number => Math.floor((dice[n] ?? 0) * of);
    const members: { id: number; role: 'voter' | 'learner' | 'spare' | 'removed' }[] = [];
    for (let n = 0; n <= at(0, 3); n++) {
      const role = roles[at(1 + n, 3)] as 'voter';
      if (known.length + members.length < 6 && this.nextMember < 14 && at(4 + n, 2) === 0) {
        const host = this.add(this.nextMember++, noConfiguration);
        members.push({ id: host.id, role });
      } else {
        const id = known[at(4 + n, known.length)] as number;
        members.push({ id, role: known.length > 3 && at(7 + n, 3) === 0 ? 'removed' : role });
      }
    }
    this.counts.changes += Number(leader.change({ members, joint }));
  }

  /** What an operator does: brings back who lost its disk, under a new incarnation; ends who was removed. */
  private nurse(): void {
    this.world.after(400, () => this.nurse());
    const { leader } = this;
    const configuration = leader?.machine.configuration;
    if (!leader || !configuration) return;
    for (const host of this.living) {
      if (configuration.removed.includes(host.id)) {
        if (this.random.chance(0.2)) host.end();
        continue;
      }
      const expected = configuration.incarnations[host.id] ?? 0;
      if (expected > host.incarnation) {
        this.counts.reincarnated++;
        host.rotten = false;
        host.beginAnew(expected);
      } else if (host.forgetful && host.messagesHeard > 60 && host.clockMs - host.startedMs > 3_000) {
        require(host.refusals.some(
          ({ reason, by }) => by !== host.id && (reason === 'boot' || reason === 'log'),
        ), 'a disk that was put back is refused by name', () => `${host.id} has heard ${host.messagesHeard} messages`);
        this.reincarnate(leader, host, configuration);
      } else if (host.state === 'damaged') this.reincarnate(leader, host, configuration);
      else if (
        host.incarnation > 0 &&
        configuration.learners.includes(host.id) &&
        leader.machine.index - host.machine.index < 20 &&
        this.random.chance(0.3)
      )
        leader.change({ members: [{ id: host.id, role: 'voter' }] });
    }
  }

  private reincarnate(leader: RaftHost, host: RaftHost, configuration: Configuration): void {
    if (!membersOf(configuration).includes(host.id)) return host.end();
    leader.change({ members: [{ id: host.id, role: 'learner', incarnation: host.incarnation + 1 }] });
  }

  // — The end —

  private peace(): void {
    const { world } = this;
    this.network.heal();
    for (const client of this.clients) client.stop();
    for (const host of this.living) {
      host.disk.full = false;
      host.disk.hangsUntilMs = 0;
      host.disk.failNext = undefined;
      host.disk.syncMs = () => 0.2;
      host.resume();
      host.clock.run(1);
      host.setPromotable(true);
    }
    const untilMs = world.nowMs + PEACE_MS;
    let answered = false;
    let done = false;
    const calledMs = world.nowMs;
    const request = { client: 1_000, number: 1, key: 0, value: 999_999_999 };
    const settle = (): void => {
      if (done) return;
      world.after(200, settle);
      const { leader } = this;
      if (!leader) return;
      // The same request again and again: it is done once.
      if (!answered) {
        leader.submit(request, (answer) => {
          if (answered || 'refused' in answer) return;
          answered = true;
          this.history.push({ key: 0, action: { kind: 'write', value: request.value }, calledMs, returnedMs: world.nowMs });
        });
      }
      const { configuration, index } = leader.machine;
      const equal = (id: MemberId): boolean => this.hosts.get(id)?.state === 'up' && this.hosts.get(id)?.machine.index === index;
      const healthy = this.living.every((host) => host.state !== 'damaged' && !host.forgetful);
      done = answered && configuration.outgoing.length === 0 && healthy && membersOf(configuration).every(equal);
    };
    settle();
    while (!done && world.step(untilMs)) this.check();
    require(done, 'in peace there is a leader, entries are committed, and all members catch up', () => this.describe());
  }

  private reckon(): void {
    const { leader, world } = this;
    if (!leader) throw new Violation('there is a leader in the end');
    for (const id of membersOf(leader.machine.configuration)) {
      const { machine } = this.hosts.get(id) as RaftHost;
      const equal =
        machine.digest === leader.machine.digest && JSON.stringify(machine.configuration) === JSON.stringify(leader.machine.configuration);
      require(equal, 'all members are equal in the end', () => `${id} and ${leader.id} at ${machine.index}`);
      for (let key = 0; key < this.plan.keys; key++) {
        const value = registerOf(machine, key);
        this.history.push({ key, action: { kind: 'read', value }, calledMs: world.nowMs, returnedMs: world.nowMs });
      }
    }
    const keys = violatedKeys(this.history);
    require(keys.length === 0, 'the history of the clients is linearizable', () => `register ${keys.join()}`);
  }

  private describe(): string {
    return this.living
      .map((host) => {
        const status = host.node?.status();
        return status
          ? `${host.id} ${status.role} of term ${status.term}, ${JSON.stringify(status.last)}, commit ${status.commit}, applied ${status.applied}, ${JSON.stringify(status.configuration)} ${JSON.stringify(status.peers)}`
          : `${host.id} ${host.state}`;
      })
      .join('\n');
  }

  private summary(): Record<string, number> {
    const counts: Record<string, number> = {
      ...this.counts,
      ...this.observer.counts,
      operations: this.history.length,
      messages: this.network.carried,
    };
    for (const host of this.hosts.values()) for (const [name, count] of Object.entries(host.counts)) counts[name] = (counts[name] ?? 0) + count;
    return counts;
  }

  private trace(member: MemberId, what: string): void {
    this.lines.push(`${this.world.nowMs.toFixed(1).padStart(9)} ${member === 0 ? ' ' : member} ${what}`);
    if (this.lines.length > 2 * TRACE_LINES) this.lines.splice(0, TRACE_LINES);
  }
}

function brief(message: Message): string {
  switch (message.type) {
    case 'append': {
      const { previous, entries, commit, round } = message;
      return `append t${message.term} after ${previous.index}/${previous.term} ${entries.length} entries, commit ${commit}, round ${round}`;
    }
    case 'snapshot-chunk':
      return `snapshot-chunk t${message.term} of ${message.meta.index} at ${message.offset}, ${message.data.length} bytes`;
    default: {
      const { cluster: _cluster, from: _from, to: _to, incarnation: _incarnation, type, term, ...rest } = message;
      return `${type} t${term} ${JSON.stringify(rest)}`;
    }
  }
}
