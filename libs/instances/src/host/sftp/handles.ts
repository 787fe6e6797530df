import type { OpenFile } from '#host-kit';
import { fault } from '#kit';

/** Of one client; OpenSSH gives 100 or so. */
const handlesMax = 256;

export interface FileHandle {
  kind: 'file';
  file: OpenFile;
}

export interface DirectoryHandle {
  kind: 'directory';
  path: string;
  /** Those that were not told yet. */
  names: string[];
}

/** What a client has open. Closes all of it at its end. */
export class Handles implements Disposable {
  readonly #open = new Map<string, FileHandle | DirectoryHandle>();
  #next = 0;

  /** @throws Fault unavailable: too many. Call it before something is opened that would be lost. */
  checkRoom(): void {
    if (this.#open.size >= handlesMax) throw fault.unavailable('Too many open files');
  }

  add(handle: FileHandle | DirectoryHandle): string {
    const name = String(this.#next++);
    this.#open.set(name, handle);
    return name;
  }

  /** @throws Fault invalid */
  any(name: string): FileHandle | DirectoryHandle {
    const handle = this.#open.get(name);
    if (!handle) throw fault.invalid('No such handle');
    return handle;
  }

  /** @throws Fault invalid */
  file(name: string): OpenFile {
    const handle = this.any(name);
    if (handle.kind !== 'file') throw fault.invalid('Not the handle of a file');
    return handle.file;
  }

  /** @throws Fault invalid */
  directory(name: string): DirectoryHandle {
    const handle = this.any(name);
    if (handle.kind !== 'directory') throw fault.invalid('Not the handle of a directory');
    return handle;
  }

  /** @throws Fault invalid */
  close(name: string): void {
    const handle = this.any(name);
    this.#open.delete(name);
    if (handle.kind === 'file') handle.file[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    for (const name of this.#open.keys()) this.close(name);
  }
}
