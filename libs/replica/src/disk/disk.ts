/**
 * The disk as the log sees it: one directory of files that are written in place, and made durable by an explicit `sync`. The simulator's fake
 * loses what was not synced and tears the last write; the real one is below the same code.
 *
 * All calls are synchronous, and all but `NoSpace` are final: whoever calls does not try again, for the kernel may have dropped the pages of a
 * failed sync and will call the next one good.
 */
export interface Disk {
  /** Names of the files, in no order. */
  list(): string[];
  /** A new file of `sizeBytes` zeros, every block of it allocated, durable together with its name. @throws NoSpace and nothing is left */
  create(name: string, sizeBytes: number): DiskFile;
  open(name: string): DiskFile;
  /** Durable after `syncDirectory`. */
  remove(name: string): void;
  syncDirectory(): void;
}

export interface DiskFile {
  readonly sizeBytes: number;
  /** Exactly `lengthBytes`, or what there is before the end of the file. */
  read(offset: number, lengthBytes: number): Uint8Array;
  /** Never beyond sizeBytes. Not durable before `sync`. @throws NoSpace */
  write(offset: number, bytes: Uint8Array): void;
  sync(): void;
  close(): void;
}

/** The one error after which a member goes on: it acknowledges nothing and reads. */
export class NoSpace extends Error {
  constructor(cause?: unknown) {
    super('no space left for the log', { cause });
    this.name = 'NoSpace';
  }
}
