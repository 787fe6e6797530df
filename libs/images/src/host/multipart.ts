import type { Readable } from 'node:stream';
import { fault } from '#kit';

export interface PartHead {
  name: string;
  filename: string;
}

const headMaxBytes = 16 * 1024;
const epilogueMaxBytes = 64 * 1024;
const endOfHead = Buffer.from('\r\n\r\n');

/**
 * Reads a multipart/form-data body part by part as it comes, keeping no more than a chunk: RFC 2046, as far as clients use it. `onPart` gets each part's
 * head and its bytes, which it must read to the end before the next part comes. @throws Fault invalid for a body that is broken or cut
 */
export async function readMultipart(
  body: Readable,
  boundary: string,
  onPart: (head: PartHead, bytes: AsyncIterable<Buffer>, index: number) => Promise<void>,
): Promise<void> {
  const source = new Source(body);
  const delimiter = Buffer.from(`--${boundary}`);
  // What comes before the first delimiter is a preamble to be passed over.
  await drain(source.until(delimiter));
  for (let index = 0; await source.opensPart(); index++) {
    const head = parseHead(await source.head());
    const bytes = source.until(Buffer.from(`\r\n--${boundary}`));
    await onPart(head, bytes, index);
    await drain(bytes);
  }
  await source.epilogue();
}

async function drain(bytes: AsyncIterable<Buffer>): Promise<void> {
  for await (const _ of bytes);
}

/** A stream of bytes with a look ahead. */
class Source {
  #buffer: Buffer = Buffer.alloc(0);
  readonly #chunks: AsyncIterator<Buffer>;

  constructor(body: Readable) {
    this.#chunks = body.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>;
  }

  /** All up to `mark`, which is consumed too. @throws Fault invalid when it never comes */
  async *until(mark: Buffer): AsyncGenerator<Buffer> {
    for (;;) {
      const at = this.#buffer.indexOf(mark);
      if (at >= 0) {
        const found = this.#buffer.subarray(0, at);
        this.#buffer = this.#buffer.subarray(at + mark.length);
        if (found.length > 0) yield found;
        return;
      }
      // The mark may begin in the last bytes: they wait for the next chunk.
      const sure = this.#buffer.length - (mark.length - 1);
      if (sure > 0) {
        const out = this.#buffer.subarray(0, sure);
        this.#buffer = this.#buffer.subarray(sure);
        yield out;
      }
      await this.#more();
    }
  }

  /** After a delimiter: a line end opens a part, two hyphens end the body. */
  async opensPart(): Promise<boolean> {
    while (this.#buffer.length < 2) await this.#more();
    const word = this.#buffer.subarray(0, 2).toString('latin1');
    if (word === '--') return false;
    if (word !== '\r\n') throw fault.invalid('Invalid multipart image');
    return true;
  }

  /** What comes after the last delimiter is to be passed over, so that the body is read to its end; but not for ever. */
  async epilogue(): Promise<void> {
    for (let bytes = this.#buffer.length; bytes <= epilogueMaxBytes;) {
      const { value, done } = await this.#chunks.next();
      if (done) return;
      bytes += value.length;
    }
    throw fault.invalid('Invalid multipart image');
  }

  async head(): Promise<string> {
    for (;;) {
      const at = this.#buffer.indexOf(endOfHead);
      if (at >= 0) {
        const head = this.#buffer.subarray(0, at).toString('utf8');
        this.#buffer = this.#buffer.subarray(at + endOfHead.length);
        return head;
      }
      if (this.#buffer.length > headMaxBytes) throw fault.invalid('Invalid multipart image');
      await this.#more();
    }
  }

  async #more(): Promise<void> {
    const { value, done } = await this.#chunks.next();
    if (done) throw fault.invalid('The multipart body of the image ends too early');
    this.#buffer = this.#buffer.length === 0 ? value : Buffer.concat([this.#buffer, value]);
  }
}

function parseHead(text: string): PartHead {
  const disposition = text.split('\r\n').find((line) => /^content-disposition:/i.test(line)) ?? '';
  const parameter = (key: string): string => {
    const match = new RegExp(`;\\s*${key}=(?:"((?:[^"\\\\]|\\\\.)*)"|([^;\\s]*))`, 'i').exec(disposition);
    return (match?.[1]?.replace(/\\(.)/g, '$1') ?? match?.[2] ?? '').slice(0, 255);
  };
  return { name: parameter('name'), filename: parameter('filename') };
}
