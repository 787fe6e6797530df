/** SFTP version 3: draft-ietf-secsh-filexfer-02, as OpenSSH speaks it (its PROTOCOL file has the extensions). */
export const requests = {
  init: 1,
  open: 3,
  close: 4,
  read: 5,
  write: 6,
  lstat: 7,
  fstat: 8,
  setstat: 9,
  fsetstat: 10,
  opendir: 11,
  readdir: 12,
  remove: 13,
  mkdir: 14,
  rmdir: 15,
  realpath: 16,
  stat: 17,
  rename: 18,
  readlink: 19,
  symlink: 20,
  extended: 200,
} as const;

export const replies = { version: 2, status: 101, handle: 102, data: 103, name: 104, attributes: 105, extended: 201 } as const;

export const statuses = { ok: 0, eof: 1, noSuchFile: 2, permissionDenied: 3, failure: 4, badMessage: 5, unsupported: 8 } as const;

/** OpenSSH's limit of a packet, either way. */
export const packetBytesMax = 256 * 1024;

/** The other side does not speak SFTP, or not as it should: the connection ends. */
export class BadMessage extends Error {}

/** Packets of a connection, without their lengths. Reads on only when the last one has been dealt with. @throws BadMessage for a packet that is too long */
export async function* packetsOf(bytes: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let gathered: Buffer[] = [];
  let length = 0;
  let wanted = 4;
  for await (const chunk of bytes) {
    gathered.push(chunk);
    length += chunk.length;
    if (length < wanted) continue;
    let rest = gathered.length === 1 ? chunk : Buffer.concat(gathered);
    for (;;) {
      wanted = 4;
      if (rest.length < 4) break;
      const size = rest.readUInt32BE();
      if (size === 0 || size > packetBytesMax) throw new BadMessage('Not a packet of SFTP');
      wanted += size;
      if (rest.length < wanted) break;
      yield rest.subarray(4, wanted);
      rest = rest.subarray(wanted);
    }
    gathered = [rest];
    length = rest.length;
  }
}

/** Reads a packet from its start. Every method throws BadMessage where it ends too early. */
export class PacketReader {
  #at = 0;

  constructor(private readonly bytes: Buffer) {}

  u8(): number {
    return this.bytes[this.#take(1)]!;
  }

  u32(): number {
    return this.bytes.readUInt32BE(this.#take(4));
  }

  /** A position in a file: what is beyond the safe integers is no file's. */
  u64(): number {
    const value = this.bytes.readBigUInt64BE(this.#take(8));
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new BadMessage('Too large a number');
    return Number(value);
  }

  string(): Buffer {
    const length = this.u32();
    const start = this.#take(length);
    return this.bytes.subarray(start, start + length);
  }

  text(): string {
    return this.string().toString();
  }

  #take(length: number): number {
    const start = this.#at;
    if (start + length > this.bytes.length) throw new BadMessage('The packet is cut off');
    this.#at += length;
    return start;
  }
}

/** Builds a packet. */
export class PacketWriter {
  readonly #parts: Buffer[] = [Buffer.alloc(4)];
  #length = 0;

  constructor(type: number, id?: number) {
    this.#add(Buffer.of(type));
    if (id !== undefined) this.u32(id);
  }

  u32(value: number): this {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return this.#add(bytes);
  }

  u64(value: number | bigint): this {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64BE(BigInt(value));
    return this.#add(bytes);
  }

  string(value: string | Buffer): this {
    const bytes = typeof value === 'string' ? Buffer.from(value) : value;
    return this.u32(bytes.length).#add(bytes);
  }

  /** The packet with its length before it. */
  finish(): Buffer {
    this.#parts[0]!.writeUInt32BE(this.#length);
    return Buffer.concat(this.#parts);
  }

  #add(bytes: Buffer): this {
    this.#parts.push(bytes);
    this.#length += bytes.length;
    return this;
  }
}
