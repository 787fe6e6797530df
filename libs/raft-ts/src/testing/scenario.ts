/**
 * Scenarios: a text file of commands, each followed by `----` and what it showed. `scenarios.spec.ts` plays them all and compares; with
 * RAFT_SCENARIOS=write in the environment it writes the files anew, and the difference is reviewed like any other.
 *
 *     members voters=1,2,3 learners=4 joining=5     who is there; `joining` knows nobody yet.  Options: leases, alike (the same patience
 *                                                   for all), chunk=BYTES (of snapshots; and nothing of the log stays in memory)
 *     show messages | heartbeats | quiet            what transcripts hold from here on, beside roles, applied entries and refusals
 *     run MS                                        time passes, in ticks of 50 ms
 *     propose N TEXT | read N | transfer N M | timeout-all
 *     change N voter 4 learner 5 removed 2 [joint]  | leave N
 *     cut 1>2 3-4 | isolate N | heal                links, one way or both
 *     hold 1>2 | release                            messages wait
 *     crash N [sent|written|applied [K]] | restart N   now, or at that point of the next (Kth) Ready that writes
 *     save N | putback N                            a copy of the disk, and its return
 *     patience N 0.3                                how long it waits before it stands for election, of 0 to 1
 *     compact N | request N INDEX | promotable N yes|no
 *     status | log N
 */
import { noConfiguration, type Configuration, type ConfigurationChange, type Entry, type Message } from '../index.js';
import { Cluster } from './cluster.js';
import { describeConfiguration, type Disk, type Member } from './member.js';

export class Scenario {
  private cluster = new Cluster([], noConfiguration);
  private shown: string[] = [];
  private show = { messages: false, heartbeats: false, events: true };
  private saved = new Map<number, Disk>();
  private reads = 0;

  /** Plays a file, and gives it back with what was shown now. */
  play(text: string): string {
    const out: string[] = [];
    const lines = text.split('\n');
    for (let i = 0; i < lines.length; i++) {
      const line = lines[i]!;
      out.push(line);
      if (line.trim() === '' || line.startsWith('#')) continue;
      this.shown = [];
      this.command(line.trim());
      if (lines[i + 1] === '----') {
        while (i + 1 < lines.length && lines[i + 1] !== '') i++;
      }
      out.push('----', ...(this.shown.length > 0 ? this.shown : ['ok']));
      if (lines[i + 1] !== '') out.push('');
    }
    return `${out.join('\n').trimEnd()}\n`;
  }

  private command(line: string): void {
    const [verb, ...words] = line.split(/\s+/);
    const member = (): Member => this.cluster.member(Number(words[0]));
    const node = () => member().node!;
    switch (verb) {
      case 'members':
        return this.members(words);
      case 'show':
        this.show = {
          messages: words[0] === 'messages' || words[0] === 'heartbeats',
          heartbeats: words[0] === 'heartbeats',
          events: words[0] !== 'quiet',
        };
        return;
      case 'run':
        return this.cluster.run(Number(words[0]));
      case 'propose':
        this.shown.push(member().propose(words.slice(1).join(' ')));
        return this.cluster.settle();
      case 'read':
        node().readIndex(++this.reads, this.cluster.nowMs);
        return this.cluster.settle();
      case 'transfer':
        this.shown.push(node().transferLeadership(this.cluster.nowMs, Number(words[1])) ? 'begun' : 'refused');
        return this.cluster.settle();
      case 'change':
        return this.change(words);
      case 'leave':
        return this.configuration(member(), { leaveJoint: true });
      case 'cut':
        for (const link of words.flatMap(bothWays)) this.cluster.cut.add(link);
        return;
      case 'patience':
        member().patience = Number(words[1]);
        return;
      case 'isolate':
        for (const id of this.cluster.members.keys()) {
          if (id !== Number(words[0])) for (const link of bothWays(`${words[0]}-${id}`)) this.cluster.cut.add(link);
        }
        return;
      case 'heal':
        this.cluster.cut.clear();
        return;
      case 'hold':
        for (const link of words.flatMap(bothWays)) this.cluster.held.add(link);
        return;
      case 'release':
        this.cluster.release();
        return this.cluster.settle();
      case 'crash':
        if (words[1]) member().crashAt = { point: words[1] as 'sent', countdown: Number(words[2] ?? 1) };
        else member().crash();
        return;
      case 'restart':
        member().start(this.cluster.nowMs);
        return this.cluster.settle();
      case 'save':
        this.saved.set(member().id, structuredCloneDisk(member().disk));
        return;
      case 'putback':
        member().crash();
        member().disk = this.saved.get(member().id)!;
        member().start(this.cluster.nowMs);
        return this.cluster.settle();
      case 'compact':
        member().compact(words[1] ? Number(words[1]) : undefined);
        return;
      case 'request':
        node().requestSnapshot(Number(words[1]));
        return this.cluster.settle();
      case 'promotable':
        node().setPromotable(words[1] === 'yes', this.cluster.nowMs);
        return this.cluster.settle();
      case 'status':
        return this.status();
      case 'log':
        return this.log(member());
      default:
        throw new Error(`unknown command: ${line}`);
    }
  }

  private members(words: readonly string[]): void {
    const lists: Record<string, number[]> = {};
    let leases = false;
    let chunk: number | undefined;
    let alike = false;
    for (const word of words) {
      const [key, value] = word.split('=') as [string, string | undefined];
      if (key === 'leases') leases = true;
      else if (key === 'chunk') chunk = Number(value);
      else if (key === 'alike') alike = true;
      else lists[key] = value!.split(',').map(Number);
    }
    const configuration: Configuration = {
      ...noConfiguration,
      voters: lists['voters'] ?? [],
      learners: lists['learners'] ?? [],
      spares: lists['spares'] ?? [],
    };
    const { voters, learners, spares } = configuration;
    this.cluster = new Cluster([...voters, ...learners, ...spares], configuration, {
      event: (member, what) => {
        if (this.show.events) this.shown.push(`${member.id}: ${what}`);
      },
      message: (message, fate) => this.message(message, fate),
      ...(alike && { patience: 0 }),
      raft: { leases, ...(chunk && { limits: { chunkBytes: chunk, chunksInflight: 2, tailBytes: 0 } }) },
    });
    for (const id of lists['joining'] ?? []) this.cluster.add(id);
    this.cluster.settle();
  }

  private change(words: readonly string[]): void {
    const members: { id: number; role: 'voter' }[] = [];
    const rest = words.slice(1).filter((word) => word !== 'joint');
    for (let i = 0; i < rest.length; i += 2) members.push({ role: rest[i] as 'voter', id: Number(rest[i + 1]) });
    this.configuration(this.cluster.member(Number(words[0])), { members, ...(words.includes('joint') && { joint: true }) });
  }

  private configuration(member: Member, change: ConfigurationChange): void {
    const result = member.node!.proposeConfiguration(change, new Uint8Array(0), member.node!.nextPlace() ?? { term: 0, index: 0 });
    this.shown.push(
      result === 'ok' ? `ok, in force: ${describeConfiguration(member.node!.status().configuration)}` : `refused: ${result.why ?? result.refused}`,
    );
    this.cluster.settle();
  }

  private status(): void {
    for (const { id, node } of this.cluster.members.values()) {
      if (!node) this.shown.push(`${id}: down`);
      else {
        const s = node.status();
        const leader = s.leader === undefined ? 'nobody' : s.leader;
        this.shown.push(
          `${id}: ${s.role} term ${s.term} leader ${leader} last ${place(s.last)} commit ${s.commit} applied ${s.applied}; ${describeConfiguration(s.configuration)}`,
        );
        for (const p of s.peers) this.shown.push(`   ${p.id}: ${p.state} match ${p.match} next ${p.next}`);
      }
    }
  }

  private log(member: Member): void {
    const { storage } = member.disk;
    const entries = storage.entries(storage.firstIndex(), storage.lastIndex(), 1 << 20);
    this.shown.push([`from ${storage.firstIndex()}:`, ...entries.map(entry)].join(' '));
  }

  private message(message: Message, fate: string): void {
    const beat = message.type === 'heartbeat' || message.type === 'heartbeat-ack';
    if (!this.show.messages || (beat && !this.show.heartbeats)) return;
    this.shown.push(`  ${message.from}>${message.to} t${message.term} ${describe(message)}${fate === 'delivered' ? '' : ` (${fate})`}`);
  }
}

const place = (at: { index: number; term: number }): string => `${at.index}/${at.term}`;

function entry(e: Entry): string {
  const text = e.configuration ? `{${describeConfiguration(e.configuration)}}` : e.type === 'noop' ? '-' : new TextDecoder().decode(e.data);
  return `${place(e)}:${text}`;
}

function describe(m: Message): string {
  switch (m.type) {
    case 'append':
      return `append after ${place(m.previous)} [${m.entries.map(entry).join(' ')}] commit ${m.commit}`;
    case 'append-ack':
      return `append-ack ${m.index}`;
    case 'append-refused':
      return `append-refused ${m.index} hint ${place(m.hint)}`;
    case 'heartbeat':
      return `heartbeat commit ${m.commit} round ${m.round}`;
    case 'heartbeat-ack':
      return `heartbeat-ack round ${m.round}`;
    case 'pre-vote':
      return `pre-vote last ${place(m.last)}`;
    case 'vote':
      return `vote last ${place(m.last)}${m.transfer ? ' transfer' : ''}`;
    case 'pre-vote-answer':
    case 'vote-answer':
      return `${m.type} ${m.granted ? 'yes' : 'no'}`;
    case 'read-index':
      return `read-index #${m.id}`;
    case 'read-index-answer':
      return `read-index-answer #${m.id} at ${m.index}`;
    case 'snapshot-chunk':
      return `snapshot-chunk ${place(m.meta)} bytes ${m.offset}–${m.offset + m.data.length} of ${m.meta.sizeBytes}`;
    case 'snapshot-ack':
      return `snapshot-ack ${m.index} ${m.status} ${m.receivedBytes}`;
    case 'snapshot-request':
      return `snapshot-request from ${m.minIndex}`;
    case 'hello':
      return `hello ${m.boots.join('→')} last ${place(m.last)}`;
    case 'refused':
      return `refused ${m.reason}`;
    case 'who':
    case 'timeout-now':
      return m.type;
  }
}

function bothWays(link: string): string[] {
  const [a, b] = link.split('-');
  return b ? [`${a}>${b}`, `${b}>${a}`] : [link];
}

function structuredCloneDisk(disk: Disk): Disk {
  const storage = Object.assign(Object.create(Object.getPrototypeOf(disk.storage) as object) as Disk['storage'], structuredClone(disk.storage));
  return { ...structuredClone({ ...disk, storage: undefined }), storage };
}
