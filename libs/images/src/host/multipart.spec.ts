import { Readable } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { multipartBody } from '../model/index.js';
import { readMultipart, type PartHead } from './multipart.js';

async function parts(body: Buffer, boundary: string, chunkBytes: number): Promise<{ head: PartHead; bytes: Buffer }[]> {
  const chunks = Array.from({ length: Math.ceil(body.length / chunkBytes) }, (_, index) =>
    body.subarray(index * chunkBytes, (index + 1) * chunkBytes),
  );
  const found: { head: PartHead; bytes: Buffer }[] = [];
  await readMultipart(Readable.from(chunks), boundary, async (head, bytes) => {
    const collected: Buffer[] = [];
    for await (const chunk of bytes) collected.push(Buffer.from(chunk));
    found.push({ head, bytes: Buffer.concat(collected) });
  });
  return found;
}

async function bodyOf(contents: Buffer[], boundary: string): Promise<Buffer> {
  const body = multipartBody(
    contents.map((bytes, index) => ({
      name: `p${index}`,
      filename: `f"${index}`,
      size: bytes.length,
      open: async function* () {
        yield bytes;
      },
    })),
    boundary,
  );
  const chunks: Uint8Array[] = [];
  for await (const chunk of body.chunks()) chunks.push(chunk);
  const whole = Buffer.concat(chunks);
  expect(whole.length).toBe(body.size);
  return whole;
}

describe('a multipart body', () => {
  it('gives back what was put in, however it is cut into chunks', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ maxLength: 200 }), { minLength: 1, maxLength: 3 }),
        fc.integer({ min: 1, max: 64 }),
        async (arrays, chunkBytes) => {
          // Contents full of what almost is the delimiter.
          const contents = arrays.map((bytes) => Buffer.concat([Buffer.from('\r\n--xy\r\n--'), bytes]));
          const read = await parts(await bodyOf(contents, 'xyz'), 'xyz', chunkBytes);
          expect(read.map(({ bytes }) => bytes)).toEqual(contents);
          expect(read.map(({ head }) => head)).toEqual(contents.map((_, index) => ({ name: `p${index}`, filename: `f"${index}` })));
        },
      ),
      { numRuns: 60 },
    ));

  it('cut anywhere is refused', async () => {
    const whole = await bodyOf([Buffer.from('abc'), Buffer.from('def')], 'xyz');
    for (let length = 0; length < whole.length - 4; length++)
      await expect(parts(whole.subarray(0, length), 'xyz', 7)).rejects.toMatchObject({ kind: 'invalid' });
  });
});
