import { closeSync, fdatasyncSync, fstatSync, fsyncSync, mkdirSync, openSync, readdirSync, readSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { type Disk, type DiskFile, NoSpace } from './disk.js';

const ZEROS = new Uint8Array(1024 * 1024);

/** ENOSPC and EDQUOT become NoSpace; everything else goes up as it is, and ends the process. */
function spacious<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw code === 'ENOSPC' || code === 'EDQUOT' ? new NoSpace(error) : error;
  }
}

/** Blocks this thread: the log is synchronous. */
function sleep(ms: number): void {
  if (ms > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

class RealFile implements DiskFile {
  constructor(
    private readonly fd: number,
    readonly sizeBytes: number,
    private readonly syncDelayMs: number,
  ) {}

  read(offset: number, lengthBytes: number): Uint8Array {
    const bytes = new Uint8Array(Math.max(0, Math.min(lengthBytes, this.sizeBytes - offset)));
    for (let done = 0; done < bytes.length;) {
      const n = readSync(this.fd, bytes, done, bytes.length - done, offset + done);
      if (n === 0) return bytes.subarray(0, done);
      done += n;
    }
    return bytes;
  }

  write(offset: number, bytes: Uint8Array): void {
    if (offset + bytes.length > this.sizeBytes) throw new RangeError('write beyond the preallocated file');
    spacious(() => {
      for (let done = 0; done < bytes.length;) done += writeSync(this.fd, bytes, done, bytes.length - done, offset + done);
    });
  }

  sync(): void {
    spacious(() => fdatasyncSync(this.fd));
    sleep(this.syncDelayMs);
  }

  close(): void {
    closeSync(this.fd);
  }
}

/** `5ms` → 5. For benchmarks: what a slower disk would do. Absent or malformed means no delay. */
export function syncDelayFrom(text: string | undefined): number {
  const match = /^(\d+)(?:ms)?$/.exec(text ?? '');
  return match ? Number(match[1]) : 0;
}

/** The log's directory on a real file system; made if missing. */
export function realDisk(directory: string, syncDelayMs = syncDelayFrom(process.env.MUSTER_FSYNC_DELAY)): Disk {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const syncDirectory = (): void => {
    const fd = openSync(directory, 'r');
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  };
  return {
    list: () => readdirSync(directory),
    create(name, sizeBytes) {
      const path = join(directory, name);
      const fd = openSync(path, 'wx+', 0o600);
      try {
        // Zeros are written, not only reserved: a later fdatasync then has no block to allocate and no extent to convert.
        spacious(() => {
          for (let at = 0; at < sizeBytes;) at += writeSync(fd, ZEROS, 0, Math.min(ZEROS.length, sizeBytes - at), at);
          fsyncSync(fd);
        });
        syncDirectory();
        return new RealFile(fd, sizeBytes, syncDelayMs);
      } catch (error) {
        closeSync(fd);
        unlinkSync(path);
        throw error;
      }
    },
    open(name) {
      const fd = openSync(join(directory, name), 'r+');
      return new RealFile(fd, fstatSync(fd).size, syncDelayMs);
    },
    remove: (name) => unlinkSync(join(directory, name)),
    syncDirectory,
  };
}
