/**
 * One member of the replica profile: the whole engine (capture, trial, log, apply, snapshots, submits) on SQLite files in memory and a fake disk
 * for its log, in virtual time. A death may come between any two effects on the log, a message or an applied entry; after a power loss the
 * database's WAL ends wherever it was not synced, and SQLite itself finds out where that is.
 */
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { silent } from '#kit';
import {
  connectFile,
  FileSnapshots,
  History,
  openEngine,
  type Disk,
  type EngineFace,
  type EngineTests,
  type SubmitRequest,
  type Transport,
  type TransportHandlers,
} from '#replica/engine';
import type { MemberId, Message } from '#raft-ts';
import { Crashed, FakeDisk } from './fake-disk.js';
import { HostClock } from './host-clock.js';
import { Process, type Loop } from './loop.js';
import type { Plan } from './plan.js';
import type { Random } from './random.js';
import { registersWing } from './registers-wing.js';
import { require, Violation } from './violation.js';
import type { World } from './world.js';

const FRAME_BYTES = 24 + 4096;
const WAL_HEAD_BYTES = 32;

/** What hosts share. */
export interface EngineWorld {
  readonly world: World;
  readonly loop: Loop;
  readonly plan: Plan;
  readonly tests: EngineTests;
  readonly founders: readonly MemberId[];
  readonly diskRules: (disk: Disk) => Disk;
  /** Carries anything from member to member, or loses it. */
  send(from: MemberId, to: MemberId, deliver: (host: EngineHost) => void): void;
  /** The rows of a member at an index. */
  applied(member: MemberId, index: number, digest: string): void;
  trace(member: MemberId, what: () => string): void;
  failed(error: unknown): void;
}

export class EngineHost {
  readonly clock: HostClock;
  readonly disk: FakeDisk;
  engine: EngineFace | undefined;
  state: 'down' | 'starting' | 'up' | 'gone' = 'down';
  paused = false;
  readonly counts = { crashes: 0, powerLosses: 0, lostFrames: 0, torn: 0, installed: 0, stopped: 0 };
  private process: Process | undefined;
  private handlers: TransportHandlers | undefined;
  private boots = 0;
  private connections: DatabaseSync[] = [];
  private reader: DatabaseSync | undefined;
  private crashIn: number | undefined;
  private dying: { readonly downMs: number; readonly power: boolean } | undefined;
  private inbox: (() => void)[] = [];
  private readonly directory: string;

  constructor(
    private readonly shared: EngineWorld,
    readonly id: MemberId,
    directory: string,
    private readonly random: Random,
  ) {
    this.directory = join(directory, String(id));
    mkdirSync(this.directory, { recursive: true });
    this.clock = new HostClock(shared.world, random.below(100_000));
    this.disk = new FakeDisk(
      () => shared.world.nowMs,
      random.fork('disk'),
      (what) => this.effect(what),
    );
    // The engine's log does not wait in virtual time: what is synced is durable at once, and a slow disk is a pause.
    this.disk.syncMs = () => 0;
  }

  // — Life and death —

  start(): void {
    if (this.state !== 'down') return;
    this.state = 'starting';
    const process = new Process(this.shared.loop, this.shared.world);
    this.process = process;
    process.run(() => {
      this.open(process).then(
        (engine) => {
          if (process.ended) return;
          this.engine = engine;
          this.state = 'up';
          const { stopped } = engine.status();
          this.shared.trace(this.id, () => `starts at ${engine.status().applied}${stopped ? `, stopped: ${stopped}` : ''}`);
          if (stopped) this.counts.stopped++;
        },
        (error: unknown) => {
          if (process.ended || error instanceof Crashed) return;
          this.die(this.dying ?? { downMs: 200, power: false }, `could not start: ${String(error)}`);
        },
      );
    });
  }

  /** Dies after so many effects from now on. */
  crashAfter(effects: number, downMs: number, power: boolean): void {
    if (this.state === 'gone' || this.dying) return;
    const dying = { downMs, power };
    this.crashIn = effects;
    this.shared.world.after(300, () => {
      if (this.crashIn !== undefined && this.state !== 'down') this.die(dying, 'in time');
    });
    this.crashAs = dying;
  }
  private crashAs: { readonly downMs: number; readonly power: boolean } | undefined;

  /** Nothing more happens from here on; what is left is looked at by `bury`, when everything that was begun has come to its end. */
  die(how: { readonly downMs: number; readonly power: boolean }, why: string): void {
    if (this.dying || this.state === 'down' || this.state === 'gone') return;
    this.shared.trace(this.id, () => `dies${how.power ? ' with its machine' : ''} (${why}), back in ${Math.round(how.downMs)} ms`);
    this.dying = how;
    this.process?.end();
  }

  /** After each event. */
  bury(): void {
    const { dying } = this;
    if (!dying) return;
    this.dying = undefined;
    this.counts.crashes++;
    this.crashIn = undefined;
    this.engine = undefined;
    this.handlers = undefined;
    this.inbox = [];
    if (this.paused) this.clock.goOn();
    this.paused = false;
    this.leaveDatabase(dying.power);
    if (dying.power) this.disk.crash();
    else this.disk.kill();
    this.state = 'down';
    this.shared.world.after(dying.downMs, () => this.start());
  }

  end(): void {
    this.process?.end();
    for (const db of this.connections) db.close();
    this.connections = [];
    this.state = 'gone';
  }

  pause(clockStands: boolean): void {
    if (this.paused || this.state !== 'up') return;
    this.shared.trace(this.id, () => 'pauses');
    this.paused = true;
    if (clockStands) this.clock.standStill();
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.clock.goOn();
    const { inbox } = this;
    this.inbox = [];
    for (const task of inbox) task();
  }

  // — What the network and clients do —

  receive(message: Message): void {
    this.run(() => this.handlers?.message(structuredClone(message)));
  }

  serve(from: MemberId, term: number, request: SubmitRequest, dryRun: boolean, answer: (reply: Promise<unknown>) => void): void {
    this.run(() => {
      if (this.handlers) answer(this.handlers.submit(from, term, structuredClone(request), dryRun));
    });
  }

  /** Asks the engine something, if there is one. */
  ask(question: (engine: EngineFace) => void): void {
    this.run(() => {
      if (this.engine) question(this.engine);
    });
  }

  value(key: number): number {
    // Before its migration there are no registers.
    if (this.reader?.prepare("SELECT 1 FROM sqlite_master WHERE name = 'registers'").get() === undefined) return 0;
    return (this.reader?.prepare('SELECT value FROM registers WHERE key = ?').get(key) as { value: number } | undefined)?.value ?? 0;
  }

  /** Everything that members must have in common, as text. */
  rows(): string {
    if (!this.reader) return '';
    const { reader } = this;
    const tables = reader.prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").all() as { name: string }[];
    // `durable` is a member's own.
    return tables
      .map(({ name }) => {
        const columns = name === 'meta' ? 'applied, term, schema, now, configuration' : '*';
        return `${name} ${JSON.stringify(reader.prepare(`SELECT ${columns} FROM "${name}" ORDER BY 1`).all())}`;
      })
      .join('\n');
  }

  /** The same in short, for every entry: tables that only grow by what is newest in them. */
  private rowsInShort(): string {
    const { reader } = this;
    if (!reader) return '';
    this.short ??= ['meta', 'migrations', 'sequences', 'submits', 'registers', 'roles', 'changes'].flatMap((name) => {
      if (reader.prepare('SELECT 1 FROM sqlite_master WHERE name = ?').get(name) === undefined) return [];
      // Whoever joins is told the configuration later; how that ends is seen in the end.
      if (name === 'meta') return [reader.prepare('SELECT applied, term, schema, now FROM meta')];
      if (name === 'changes') return [reader.prepare('SELECT *, (SELECT count(*) FROM changes) FROM changes ORDER BY id DESC LIMIT 2')];
      if (name === 'submits')
        return [reader.prepare('SELECT *, (SELECT count(*) FROM submits) FROM submits WHERE entry = (SELECT applied FROM meta)')];
      return [reader.prepare(`SELECT * FROM "${name}" ORDER BY 1`)];
    });
    const text = this.short.map((statement) => JSON.stringify(statement.all())).join('\n');
    // The tables of the migration come with an early entry.
    if (this.short.length < 7) this.short = undefined;
    return text;
  }
  private short: StatementSync[] | undefined;

  private run(task: () => void): void {
    if (this.paused) this.inbox.push(() => this.run(task));
    else this.process?.run(task);
  }

  // — Inside —

  private async open(process: Process): Promise<EngineFace> {
    const { shared, random } = this;
    const { world, plan } = shared;
    const path = this.databasePath;
    const connect = (foreignKeys: boolean): DatabaseSync => {
      const db = this.keep(connectFile(path, foreignKeys));
      const exec = db.exec.bind(db);
      db.exec = (sql) => {
        exec(sql);
        if (/wal_checkpoint|SET durable/.test(sql)) this.noteSync(path);
      };
      return db;
    };
    const snapshots = new FileSnapshots(join(this.directory, 'snapshots'), path);
    const engine = await openEngine({
      wings: [registersWing],
      disk: this.watched(shared.diskRules(this.disk)),
      connect,
      snapshots: {
        take: () => shared.loop.outsideWork(() => snapshots.take()),
        install: (file) => {
          this.counts.installed++;
          return shared.loop.outsideWork(() => snapshots.install(file));
        },
        latest: () => snapshots.latest(),
        read: (meta, offset, maxBytes) => snapshots.read(meta, offset, maxBytes),
        receive: (chunk) => snapshots.receive(chunk),
        complete: (meta) => snapshots.complete(meta),
        fileOf: (meta) => snapshots.fileOf(meta),
        remove: (file) => snapshots.remove(file),
        tidy: (keep) => snapshots.tidy(keep),
      },
      history: new History(this.keep(new DatabaseSync(':memory:'))),
      transport: this.transport(process),
      clock: {
        monotonicMs: () => this.clock.nowMs,
        realMs: () => Math.floor(this.clock.realMs),
        every: (intervalMs, work) => this.every(process, intervalMs, work),
        turn: () => new Promise((resolve) => process.at(world.nowMs, () => this.run(resolve))),
      },
      logger: silent,
      random: () => random.next(),
      nonce: () => `${this.id}-${++this.boots}`,
      identity: { cluster: 'sim', member: this.id, incarnation: 0, ...(shared.founders.includes(this.id) && { founders: shared.founders }) },
      leases: plan.leases,
      forTests: { ...shared.tests, log: { segmentBytes: plan.segmentBytes, ...shared.tests.log } },
      fatal: (error) => {
        if (this.dying || process.ended) return;
        if (error instanceof Crashed || (error as { code?: string }).code === 'EIO')
          this.die(this.crashAs ?? { downMs: 50, power: true }, String(error));
        else shared.failed(error);
      },
    });
    this.reader = this.keep(new DatabaseSync(path, { readOnly: true }));
    engine.watch(({ index }) => {
      if (process.ended) return;
      shared.applied(this.id, index, this.rowsInShort());
      this.effect('applied', false);
    });
    return engine;
  }

  private keep(db: DatabaseSync): DatabaseSync {
    this.connections.push(db);
    return db;
  }

  private every(process: Process, intervalMs: number, work: () => void): Disposable {
    let over = false;
    const { world } = this.shared;
    let waiting = false;
    const again = (): void => {
      process.at(world.nowMs + this.clock.trueMs(intervalMs), () => {
        if (over) return;
        again();
        // A stopped process finds one tick when it goes on, not all that it missed.
        if (this.paused && waiting) return;
        waiting = this.paused;
        this.run(() => {
          waiting = false;
          work();
        });
      });
    };
    again();
    return { [Symbol.dispose]: () => void (over = true) };
  }

  private transport(process: Process): Transport {
    const { shared, id } = this;
    return {
      start: (handlers) => void (this.handlers = handlers),
      send: (messages) => {
        for (const message of messages) {
          if (process.ended) return;
          this.effect('send', false);
          if (!process.ended) shared.send(id, message.to, (host) => host.receive(message));
        }
      },
      submit: (to, term, request, dryRun) =>
        new Promise((resolve, reject) => {
          const settle = (work: () => void): void => process.run(() => this.run(work));
          // An answer that does not come is given up: the fate is unknown.
          process.at(shared.world.nowMs + 800, () => settle(() => reject(new Error('unreachable'))));
          shared.send(id, to, (host) =>
            host.serve(id, term, request, dryRun, (reply) => {
              reply.then(
                (told) => shared.send(to, id, () => settle(() => resolve(structuredClone(told) as never))),
                () => shared.send(to, id, () => settle(() => reject(new Error('refused')))),
              );
            }),
          );
        }),
      close: async () => {},
    };
  }

  /** The dead write nothing. */
  private watched(disk: Disk): Disk {
    const alive = (): void => {
      if (this.dying) throw new Crashed('dead');
    };
    return {
      list: () => disk.list(),
      create: (name, sizeBytes) => (alive(), disk.create(name, sizeBytes)),
      open: (name) => disk.open(name),
      remove: (name) => (alive(), disk.remove(name)),
      syncDirectory: () => (alive(), disk.syncDirectory()),
    };
  }

  private effect(what: string, throws = true): void {
    if (this.dying && throws) throw new Crashed(what);
    if (this.crashIn === undefined || this.crashIn-- > 0) return;
    this.crashIn = undefined;
    this.die(this.crashAs ?? { downMs: 50, power: true }, what);
    if (throws) throw new Crashed(what);
  }

  private get databasePath(): string {
    return join(this.directory, `replica-${this.databases}.db`);
  }
  private databases = 0;
  /** What of the WAL is safe. */
  private synced = { salt: '', frames: 0 };

  /** Copies what a death leaves of the database, and closes what was open. */
  private leaveDatabase(power: boolean): void {
    const old = this.databasePath;
    this.databases++;
    const next = this.databasePath;
    if (existsSync(old)) copyFileSync(old, next);
    if (existsSync(`${old}-wal`)) copyFileSync(`${old}-wal`, `${next}-wal`);
    this.reader = undefined;
    this.short = undefined;
    for (const db of this.connections) db.close();
    this.connections = [];
    for (const end of ['', '-wal', '-shm']) rmSync(`${old}${end}`, { force: true });
    if (power && existsSync(`${next}-wal`)) this.loseCommits(`${next}-wal`);
  }

  /** The WAL ends somewhere behind its last sync. */
  private loseCommits(path: string): void {
    const { salt, frames } = framesOf(path);
    const safe = salt === this.synced.salt ? this.synced.frames : 0;
    const kept = safe + this.random.below(frames - safe + 1);
    if (kept < frames) truncateSync(path, WAL_HEAD_BYTES + kept * FRAME_BYTES + this.random.below(FRAME_BYTES));
    this.counts.powerLosses++;
    this.counts.lostFrames += frames - kept;
  }

  /** SQLite has just synced the WAL. */
  private noteSync(path: string): void {
    this.synced = existsSync(`${path}-wal`) ? framesOf(`${path}-wal`) : { salt: '', frames: 0 };
  }

  /** For the reckoning: an engine that has stopped for good is a failure of its own. */
  checkRunning(): void {
    const stopped = this.engine?.status().stopped;
    require(stopped === undefined, 'no replica stops', () => `${this.id}: ${stopped}`);
    if (this.state !== 'up') throw new Violation('all members are up in the end', `${this.id} is ${this.state}`);
  }
}

/** The frames of a WAL that count: those of the header's salt, from the first on. What lies behind is of an earlier round. */
function framesOf(path: string): { salt: string; frames: number } {
  const bytes = readFileSync(path);
  const salt = bytes.toString('hex', 16, 24);
  let frames = 0;
  while (bytes.toString('hex', WAL_HEAD_BYTES + frames * FRAME_BYTES + 8, WAL_HEAD_BYTES + frames * FRAME_BYTES + 16) === salt && salt !== '')
    frames++;
  return { salt, frames };
}
