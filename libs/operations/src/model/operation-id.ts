/**
 * Operation ids are UUIDs of version 8 (RFC 9562: the layout is ours), so that any gateway finds an operation without asking:
 *
 *   bytes 0–5   milliseconds since 1970: ids sort by time of creation
 *   bytes 6–9   random, but for version and variant
 *   bytes 10–13 id of the member that runs it
 *   bytes 14–15 random
 */
export function operationId(memberId: number, nowMs: number, random: Uint8Array): string {
  const bytes = Buffer.from(random.subarray(0, 16));
  bytes.writeUIntBE(nowMs, 0, 6);
  bytes[6] = 0x80 | (bytes[6]! & 0x0f);
  bytes[8] = 0x80 | (bytes[8]! & 0x3f);
  bytes.writeUInt32BE(memberId, 10);
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

const pattern = /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-([0-9a-f]{8})[0-9a-f]{4}$/;

/** The member that runs an operation; undefined for what is no operation id. */
export function memberOfOperation(id: string): number | undefined {
  const match = pattern.exec(id);
  return match ? parseInt(match[1]!, 16) : undefined;
}
