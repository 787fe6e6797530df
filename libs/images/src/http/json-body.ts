import type { Readable } from 'node:stream';
import type { ApiRequest } from '#http-kit';
import { fault } from '#kit';

const maxBytes = 16 * 1024 * 1024;

/**
 * POST /1.0/images takes JSON and image bytes under one path, and clients do not always say which: what begins with a brace is JSON. Undefined for anything
 * else, with the stream as it was. @throws Fault invalid for broken JSON, tooLarge
 */
export async function jsonBody(request: Pick<ApiRequest, 'stream' | 'headers'>): Promise<unknown> {
  const declared = (request.headers['content-type'] ?? '').startsWith('application/json');
  const first = await peek(request.stream);
  if (!declared && first?.toString('latin1').trimStart()[0] !== '{') return undefined;
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request.stream as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw fault.tooLarge('Request body is too large');
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown;
  } catch (error) {
    throw fault.invalid(`Invalid request body: ${(error as Error).message}`);
  }
}

/** The first chunk, left in the stream; undefined for an empty one. */
async function peek(stream: Readable): Promise<Buffer | undefined> {
  for (;;) {
    const chunk = stream.read() as Buffer | null;
    if (chunk !== null) {
      stream.unshift(chunk);
      return chunk;
    }
    if (stream.readableEnded || stream.destroyed) return undefined;
    const more = await new Promise<boolean>((resolve) => {
      const settle = (value: boolean) => (): void => {
        for (const [event, listener] of listeners) stream.off(event, listener);
        resolve(value);
      };
      const listeners: [string, () => void][] = [
        ['readable', settle(true)],
        ['end', settle(false)],
        ['error', settle(false)],
        ['close', settle(false)],
      ];
      for (const [event, listener] of listeners) stream.on(event, listener);
    });
    if (!more) return undefined;
  }
}
