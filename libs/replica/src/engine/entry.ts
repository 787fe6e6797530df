import type { Position } from '#raft-ts';
import { crc32c } from '../codec/crc32c.js';
import type { Identity, Lifecycle, Migration } from '../state/command.js';

/** One command as its entry carries it: who, what came of it, and the changeset that makes it so. */
export interface CommandRecord {
  readonly name: string;
  readonly identity: Identity;
  readonly submitId: string;
  readonly requestId: string;
  readonly project: string;
  /** JSON text. */
  readonly result: string;
  readonly lifecycle: readonly Lifecycle[];
  readonly changeset: Uint8Array;
}

interface EntryHead {
  /** The state on which it was captured, and the only one on which it may be applied. */
  readonly base: Position;
  /** Schema number of that state. */
  readonly schema: number;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** What an entry of the log says to the state machine. */
export type EntryContent = EntryHead &
  ({ readonly kind: 'batch'; readonly commands: readonly CommandRecord[] } | { readonly kind: 'migration'; readonly migration: Migration });

/** The bytes of an entry are not what any Muster wrote, or a changeset in it fails its checksum: the replica stops. */
export class BadEntry extends Error {
  constructor(what: string) {
    super(`bad entry: ${what}`);
    this.name = 'BadEntry';
  }
}

type WireCommand = Omit<CommandRecord, 'changeset'> & { bytes: number; crc: number };
type Wire = EntryHead & ({ kind: 'batch'; commands: WireCommand[] } | { kind: 'migration'; migration: Migration });

/** Entry framing never changes with the feature level: version byte, three spare, length of the JSON head, head, changesets in order. */
const VERSION = 1;
const FRAME_BYTES = 8;
const utf8 = new TextEncoder();
const text = new TextDecoder('utf-8', { fatal: true });

export function encodeEntry(content: EntryContent): Uint8Array {
  const changesets = content.kind === 'batch' ? content.commands.map((command) => command.changeset) : [];
  const wire: Wire =
    content.kind === 'batch'
      ? { ...content, commands: content.commands.map(({ changeset, ...rest }) => ({ ...rest, bytes: changeset.length, crc: crc32c(changeset) })) }
      : content;
  const head = utf8.encode(JSON.stringify(wire));
  const bytes = new Uint8Array(FRAME_BYTES + head.length + changesets.reduce((sum, changeset) => sum + changeset.length, 0));
  bytes[0] = VERSION;
  new DataView(bytes.buffer).setUint32(4, head.length);
  bytes.set(head, FRAME_BYTES);
  let at = FRAME_BYTES + head.length;
  for (const changeset of changesets) {
    bytes.set(changeset, at);
    at += changeset.length;
  }
  return bytes;
}

/** @throws BadEntry, also if a changeset's checksum does not fit: SQLite would apply flipped bytes, or nothing, and call it done */
export function decodeEntry(bytes: Uint8Array): EntryContent {
  if (bytes[0] !== VERSION || bytes.length < FRAME_BYTES) throw new BadEntry(`framing version ${bytes[0]}`);
  const headLength = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(4);
  const wire = head(bytes.subarray(FRAME_BYTES, FRAME_BYTES + headLength));
  if (wire.kind === 'migration') return wire;
  let at = FRAME_BYTES + headLength;
  const commands = wire.commands.map(({ bytes: length, crc, ...rest }): CommandRecord => {
    const changeset = bytes.subarray(at, at + length);
    at += length;
    if (changeset.length !== length || crc32c(changeset) !== crc) throw new BadEntry(`changeset of ${rest.name} fails its checksum`);
    return { ...rest, changeset };
  });
  return { ...wire, commands };
}

function head(bytes: Uint8Array): Wire {
  try {
    return JSON.parse(text.decode(bytes)) as Wire;
  } catch (error) {
    throw new BadEntry(`unreadable head (${(error as Error).message})`);
  }
}
