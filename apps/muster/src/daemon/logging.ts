import pino from 'pino';
import type { Logger } from '#kit';

export interface LogOptions {
  /** Appended to; standard error when absent. */
  file?: string;
  level: 'debug' | 'info' | 'warn';
}

/** Structured lines, one a request. Written synchronously: the last line before a crash is the one that is wanted. */
export function openLog({ file, level }: LogOptions): Logger {
  const destination = pino.destination(file ? { dest: file, append: true, mkdir: true, sync: true, mode: 0o640 } : { dest: 2, sync: true });
  return pino(
    { level, base: undefined, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: (label) => ({ level: label }) } },
    destination,
  );
}
