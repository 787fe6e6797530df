import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { duplexPair, type Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RootDir } from '#host-kit';
import { PacketReader, packetsOf, PacketWriter, replies, requests, statuses } from './packets.js';
import { serveSftp } from './sftp-server.js';

const own = { uid: process.getuid!(), gid: process.getgid!() };

/** A client of one request at a time. */
class Client {
  readonly #replies: AsyncGenerator<Buffer>;
  #id = 0;

  constructor(readonly stream: Duplex) {
    this.#replies = packetsOf(stream as AsyncIterable<Buffer>);
  }

  async greet(): Promise<PacketReader> {
    this.stream.write(new PacketWriter(requests.init).u32(3).finish());
    return this.next();
  }

  async next(): Promise<PacketReader> {
    return new PacketReader((await this.#replies.next()).value as Buffer);
  }

  /** The reply behind its type and id. */
  async ask(type: number, build: (packet: PacketWriter) => PacketWriter): Promise<{ type: number; packet: PacketReader }> {
    this.stream.write(build(new PacketWriter(type, ++this.#id)).finish());
    const packet = await this.next();
    const reply = packet.u8();
    expect(packet.u32()).toBe(this.#id);
    return { type: reply, packet };
  }

  async status(type: number, build: (packet: PacketWriter) => PacketWriter): Promise<number> {
    const reply = await this.ask(type, build);
    expect(reply.type).toBe(replies.status);
    return reply.packet.u32();
  }

  async open(path: string, flags: number, mode = 0o644): Promise<string> {
    const reply = await this.ask(requests.open, (packet) => packet.string(path).u32(flags).u32(4).u32(mode));
    expect(reply.type).toBe(replies.handle);
    return reply.packet.text();
  }
}

describe('serveSftp', () => {
  let folder: string;
  let root: RootDir;
  let client: Client;
  let served: Promise<void>;
  const host = (...names: string[]): string => join(folder, 'root', ...names);

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sftp-'));
    mkdirSync(host('etc'), { recursive: true });
    writeFileSync(join(folder, 'secret'), 'SECRET');
    writeFileSync(host('etc/passwd'), 'inside');
    root = RootDir.open(host());
    const [ours, theirs] = duplexPair();
    const inside = ({ uid, gid }: { uid: number; gid: number }): { uid: number; gid: number } => ({ uid: uid + 1000, gid: gid + 1000 });
    served = serveSftp(ours, { root, inside, onHost: () => own });
    served.catch(() => {});
    client = new Client(theirs);
    expect((await client.greet()).u8()).toBe(replies.version);
  });
  afterEach(async () => {
    client.stream.destroy();
    await served.catch(() => {});
    root[Symbol.dispose]();
    rmSync(folder, { recursive: true });
  });

  it('writes and reads where it is asked to, and tells the end', async () => {
    const handle = await client.open('/new', 0x1 | 0x2 | 0x8, 0o600);
    expect(await client.status(requests.write, (packet) => packet.string(handle).u64(5).string('world'))).toBe(statuses.ok);
    expect(await client.status(requests.write, (packet) => packet.string(handle).u64(0).string('hello'))).toBe(statuses.ok);
    const { type, packet } = await client.ask(requests.read, (read) => read.string(handle).u64(3).u32(4));
    expect([type, packet.text()]).toEqual([replies.data, 'lowo']);
    expect(await client.status(requests.read, (read) => read.string(handle).u64(10).u32(4))).toBe(statuses.eof);
    expect(await client.status(requests.close, (close) => close.string(handle))).toBe(statuses.ok);
    expect(await client.status(requests.close, (close) => close.string(handle))).toBe(statuses.failure);
    expect(readFileSync(host('new'), 'utf8')).toBe('helloworld');
    expect(statSync(host('new')).mode & 0o777).toBe(0o600);
  });

  it('makes, replaces and empties nothing that it was not asked to', async () => {
    const open = (path: string, flags: number): Promise<number> => client.status(requests.open, (packet) => packet.string(path).u32(flags).u32(0));
    expect(await open('/none', 0x2)).toBe(statuses.noSuchFile);
    expect(existsSync(host('none'))).toBe(false);
    expect(await open('/etc/passwd', 0x2 | 0x8 | 0x20)).toBe(statuses.failure);
    await client.open('/etc/passwd', 0x2 | 0x8);
    expect(readFileSync(host('etc/passwd'), 'utf8')).toBe('inside');
    await client.open('/etc/passwd', 0x2 | 0x8 | 0x10);
    expect(readFileSync(host('etc/passwd'), 'utf8')).toBe('');
    writeFileSync(host('other'), 'other');
    expect(await client.status(requests.rename, (packet) => packet.string('/other').string('/etc/passwd'))).toBe(statuses.failure);
    expect(await client.status(requests.extended, (packet) => packet.string('posix-rename@openssh.com').string('/other').string('/etc/passwd'))).toBe(
      statuses.ok,
    );
    expect(readFileSync(host('etc/passwd'), 'utf8')).toBe('other');
  });

  it('lists a directory in parts, with owners as inside', async () => {
    for (let number = 0; number < 150; number++) writeFileSync(host(`file${number}`), '');
    const { packet } = await client.ask(requests.opendir, (open) => open.string('/'));
    const handle = packet.text();
    const names: string[] = [];
    for (;;) {
      const reply = await client.ask(requests.readdir, (read) => read.string(handle));
      if (reply.type === replies.status) break;
      for (let count = reply.packet.u32(); count > 0; count--) {
        names.push(reply.packet.text());
        expect(reply.packet.text()).toMatch(/^[-d]rw/);
        reply.packet.u32();
        reply.packet.u64();
        expect([reply.packet.u32(), reply.packet.u32()]).toEqual([own.uid + 1000, own.gid + 1000]);
        for (let rest = 0; rest < 3; rest++) reply.packet.u32();
      }
    }
    expect(names).toHaveLength(151);
  });

  it('never leads out of the root', async () => {
    symlinkSync('../../secret', host('out'));
    const open = (path: string): Promise<number> => client.status(requests.open, (packet) => packet.string(path).u32(1).u32(0));
    for (const path of ['/out', '/../secret', '../../secret', '/etc/../../secret']) expect(await open(path)).toBe(statuses.noSuchFile);
    const { packet } = await client.ask(requests.readlink, (read) => read.string('/out'));
    expect([packet.u32(), packet.text()]).toEqual([1, '../../secret']);
  });

  it('answers what it does not know or cannot read, and goes on', async () => {
    expect(await client.status(99, (packet) => packet)).toBe(statuses.unsupported);
    expect(await client.status(requests.open, (packet) => packet.u32(1000))).toBe(statuses.badMessage);
    expect(await client.status(requests.read, (packet) => packet.string('77').u64(0).u32(1))).toBe(statuses.failure);
    expect(await client.status(requests.stat, (packet) => packet.string('a\0b'))).toBe(statuses.failure);
    const { packet } = await client.ask(requests.realpath, (path) => path.string('.'));
    expect([packet.u32(), packet.text()]).toEqual([1, '/']);
  });

  it('opens no more than a client may have', async () => {
    for (let number = 0; number < 256; number++) await client.open('/etc/passwd', 1);
    expect(await client.status(requests.open, (packet) => packet.string('/etc/passwd').u32(1).u32(0))).toBe(statuses.failure);
  });

  it('answers all that was asked before the client fell silent', async () => {
    for (let number = 0; number < 3; number++) client.stream.write(new PacketWriter(requests.stat, number).string('/').finish());
    client.stream.end();
    for (let number = 0; number < 3; number++) expect((await client.next()).u8()).toBe(replies.attributes);
    await served;
  });

  it('ends with a client that speaks something else', async () => {
    client.stream.write('GET / HTTP/1.1\r\n\r\n');
    await expect(served).rejects.toThrow('Not a packet of SFTP');
  });
});
