import { fault } from '#kit';

/** How a tarball is compressed: a program that reads standard input and writes standard output; none for a plain tar. */
export interface Compression {
  program?: string;
  args: readonly string[];
  /** The program cannot write to a pipe: it writes the file named by its last argument, which may be there, empty. */
  intoFile?: true;
}

/** LXD runs whatever the key says; Muster runs what compresses. All take `-c` for standard output. */
const programs = ['gzip', 'pigz', 'bzip2', 'pbzip2', 'lbzip2', 'xz', 'pixz', 'lzma', 'zstd', 'lz4', 'lzop'] as const;
/** Same bytes in, same bytes out: without name and time of the file. */
const nameless = ['gzip', 'pigz'];
const option = /^-(\d{1,2}|-?[a-zA-Z][a-zA-Z0-9-]*(=[a-zA-Z0-9.:,+-]+)?)$/;
/** Options that would read or write files, or end up elsewhere than at standard output. */
const refused = /^-(-(output|files|files0|keep|decompress|test|list|uncompress|rm|output-dir.*|suffix|train.*|patch-from|filelist)|[odtlkrDS])/;

/**
 * `gzip`, `zstd -19 --long=27`, `squashfs`, `none`: the value of backups.compression_algorithm, images.compression_algorithm and of requests.
 * @throws Fault invalid for anything that is no compressor, or an option that is none of compressing
 */
export function parseCompression(algorithm: string): Compression {
  const [name = '', ...options] = algorithm.trim().split(/\s+/);
  if (name === 'none' && options.length === 0) return { args: [] };
  const bad = options.find((word) => !option.test(word) || refused.test(word));
  if (bad !== undefined) throw fault.invalid(`Invalid compression algorithm "${algorithm}": option "${bad}" is not allowed`);
  if (name === 'squashfs') return { program: 'sqfstar', args: ['-quiet', '-no-progress', '-force', '-comp', 'xz', ...options], intoFile: true };
  if (!programs.some((known) => known === name)) throw fault.invalid(`Invalid compression algorithm "${algorithm}"`);
  return { program: name, args: ['-c', ...options, ...(nameless.includes(name) ? ['-n'] : [])] };
}

/** @throws Fault invalid; for `check` of a config key */
export const checkCompression = (algorithm: string): void => void parseCompression(algorithm);
