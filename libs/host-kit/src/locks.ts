import { readFileSync } from 'node:fs';
import { fault } from '#kit';
import { check, closeFd, cString, errorCode, libc } from './libc.js';

const O_RDWR_CREAT_CLOEXEC = 2 | 0o100 | 0o2000000;
const LOCK_EX = 2;
const LOCK_NB = 4;

/** Held until it is disposed or the process ends, however it ends. The file stays: removing it would let two owners lock two files of one name. */
export class FileLock implements Disposable {
  private constructor(readonly fd: number) {}

  /**
   * Locks a file for this process alone, making it if need be. Never waits.
   * @throws Fault conflict: another process (or another FileLock of this one) holds it; SystemError: the file cannot be opened
   */
  static take(path: string): FileLock {
    const fd = check(libc.openat(-100, cString(path), O_RDWR_CREAT_CLOEXEC, 0o600), 'open', path);
    try {
      check(libc.flock(fd, LOCK_EX | LOCK_NB), 'flock', path);
      return new FileLock(fd);
    } catch (error) {
      closeFd(fd);
      if (errorCode(error) === 'EAGAIN') throw fault.conflict('Another process uses this state directory', { detail: path, cause: error });
      throw error;
    }
  }

  [Symbol.dispose](): void {
    closeFd(this.fd);
  }
}

/** Changes with every boot of the machine, and with nothing else. */
export const bootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
