export interface OutgoingPart {
  name: string;
  filename: string;
  size: number;
  open(): AsyncIterable<Uint8Array>;
}

/** A multipart/form-data body of files whose sizes are known, so that its own is. Parts are opened when their turn comes. */
export function multipartBody(
  parts: readonly OutgoingPart[],
  boundary = 'muster-0b7f5c1e9a3d48f2bd6e5a90c7f41d83',
): {
  contentType: string;
  size: number;
  chunks(): AsyncGenerator<Uint8Array>;
} {
  const quoted = (text: string): string => text.replace(/["\\]/g, '\\$&');
  const heads = parts.map(({ name, filename }, index) =>
    Buffer.from(
      `${index === 0 ? '' : '\r\n'}--${boundary}\r\nContent-Disposition: form-data; name="${quoted(name)}"; filename="${quoted(filename)}"\r\nContent-Type: application/octet-stream\r\n\r\n`,
    ),
  );
  const tail = Buffer.from(`\r\n--${boundary}--\r\n`);
  return {
    contentType: `multipart/form-data; boundary=${boundary}`,
    size: heads.reduce((sum, head, index) => sum + head.length + parts[index]!.size, tail.length),
    async *chunks() {
      for (const [index, part] of parts.entries()) {
        yield heads[index]!;
        yield* part.open();
      }
      yield tail;
    },
  };
}
