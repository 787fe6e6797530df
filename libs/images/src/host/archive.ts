import { open } from 'node:fs/promises';
import { fault } from '#kit';

export type ArchiveKind = 'tar' | 'squashfs' | 'qcow2';

export interface ArchiveFormat {
  kind: ArchiveKind;
  /** '.tar.xz' … as LXD names downloads. */
  extension: string;
  /** Program that turns standard input into the plain tar on standard output; undefined where there is nothing to do. */
  decompress?: readonly [program: string, ...args: string[]];
}

const xzMagic = Buffer.from([0x37, 0x7a, 0x58, 0x5a]);

/** By the first bytes of a file; undefined for what is no image. */
export function archiveFormat(head: Buffer): ArchiveFormat | undefined {
  const begins = (bytes: readonly number[] | string): boolean =>
    head.subarray(0, bytes.length).equals(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : Buffer.from(bytes));
  const tar = (extension: string, ...decompress: [string, ...string[]]): ArchiveFormat => ({
    kind: 'tar',
    extension: `.tar${extension}`,
    decompress,
  });
  if (begins('BZ')) return tar('.bz2', 'bzip2', '-dc');
  if (begins([0x1f, 0x8b])) return tar('.gz', 'gzip', '-dc');
  if (head[0] === 0xfd && head.subarray(1, 5).equals(xzMagic)) return tar('.xz', 'xz', '-dc', '-T0');
  if (begins([0x5d, 0x00, 0x00])) return tar('.lzma', 'xz', '-dc', '--format=lzma');
  if (begins([0x28, 0xb5, 0x2f, 0xfd])) return tar('.zst', 'zstd', '-dcq');
  if (begins([0x04, 0x22, 0x4d, 0x18])) return tar('.lz4', 'lz4', '-dcq');
  if (head.subarray(257, 262).equals(Buffer.from('ustar'))) return { kind: 'tar', extension: '.tar' };
  if (begins('hsqs')) return { kind: 'squashfs', extension: '.squashfs' };
  if (begins('QFI')) return { kind: 'qcow2', extension: '.qcow2' };
  return undefined;
}

/** @throws Fault invalid for what is no image */
export async function formatOf(path: string): Promise<ArchiveFormat> {
  const file = await open(path, 'r');
  try {
    const head = Buffer.alloc(263);
    const { bytesRead } = await file.read(head, 0, head.length, 0);
    const format = archiveFormat(head.subarray(0, bytesRead));
    if (!format) throw fault.invalid('Unsupported compression', { detail: head.subarray(0, 16).toString('hex') });
    return format;
  } finally {
    await file.close();
  }
}
