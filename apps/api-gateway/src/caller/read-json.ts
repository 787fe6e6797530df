import type { IncomingMessage } from 'node:http';
import { Fault, fault } from '#kit';

export const jsonBytesMax = 16 * 1024 * 1024;
/** A body that stands still for this long is given up. */
const silenceMsMax = 30_000;

/**
 * Reads a JSON body whole. The content type is not looked at: clients of LXD send what they like. Nothing is done for a body that is cut: its sender went
 * away, or said a length that was not true.
 * @throws Fault tooLarge beyond 16 MiB; invalid for bad JSON, or a body that was cut
 */
export async function readJson(request: IncomingMessage): Promise<unknown> {
  const declared = request.headers['content-length'];
  if (declared === '0' || (declared === undefined && request.headers['transfer-encoding'] === undefined)) return {};
  if (Number(declared) > jsonBytesMax) throw tooLarge();
  const bytes = await readBytes(request);
  return bytes.length === 0 ? {} : parseJson(bytes);
}

function readBytes(request: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const timer = setTimeout(() => end(fault.invalid('Request body did not arrive in time', { status: 408 })), silenceMsMax);
    const data = (chunk: Buffer): void => {
      size += chunk.length;
      if (size > jsonBytesMax) return end(tooLarge());
      timer.refresh();
      chunks.push(chunk);
    };
    const ended = (): void => end(request.complete ? undefined : cut());
    const broken = (): void => end(cut());
    function end(why?: Fault): void {
      clearTimeout(timer);
      request.off('data', data).off('end', ended).off('close', broken).off('error', broken);
      // Whatever still comes is let through unread, so that the answer reaches a client that goes on writing.
      request.on('error', () => undefined).resume();
      if (why) reject(why);
      else resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, size));
    }
    request.on('data', data).on('end', ended).on('close', broken).on('error', broken);
  });
}

const tooLarge = (): Fault => fault.tooLarge(`Request body is larger than ${jsonBytesMax / 1024 / 1024}MiB`);
const cut = (): Fault => fault.invalid('unexpected EOF');

const utf8 = new TextDecoder('utf-8');

/** @throws Fault invalid, worded as Go's decoder does, since people know those sentences */
export function parseJson(bytes: Uint8Array): unknown {
  const text = utf8.decode(bytes);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw fault.invalid(goWords(text, error as Error));
  }
}

function goWords(text: string, error: Error): string {
  const place = /position (\d+)/.exec(error.message)?.[1];
  if (text.trim() === '') return 'EOF';
  if (/Unexpected end|Unterminated string/.test(error.message) || place === undefined || Number(place) >= text.length) {
    // V8 leaves the place out of some messages of short texts; the culprit is then the token that it quotes.
    const quoted = /Unexpected token '(.)'/u.exec(error.message)?.[1];
    if (quoted === undefined || /Unexpected end|Unterminated/.test(error.message)) return 'unexpected EOF';
    return `invalid character '${quoted}' ${context(text, text.indexOf(quoted), error.message)}`;
  }
  return `invalid character '${text[Number(place)]}' ${context(text, Number(place), error.message)}`;
}

function context(text: string, at: number, message: string): string {
  const before = text.slice(0, at).trimEnd().at(-1);
  if (/after property name|':'/.test(message)) return 'after object key';
  if (/property name|double-quoted/i.test(message) || before === '{') return 'looking for beginning of object key string';
  if (/after property value|',' or '}'/.test(message)) return 'after object key:value pair';
  if (/after array element|',' or ']'/.test(message)) return 'after array element';
  if (/after JSON/.test(message)) return 'after top-level value';
  return 'looking for beginning of value';
}
