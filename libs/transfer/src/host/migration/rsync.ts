import type { Readable, Writable } from 'node:stream';
import { fault } from '#kit';
import { closeFd, makePipe, programFailed, readerOf, type RunningProgram, start, writerOf } from '#host-kit';
import { type RsyncFeatures, rsyncArguments } from './features.js';
import type { FrameLink } from './frame-link.js';

export interface RsyncOptions {
  features: RsyncFeatures;
  /** Looks into files of the same size and time too: of the receiver. */
  thorough?: boolean;
  signal?: AbortSignal;
  /** Bytes so far, in the direction of the files. */
  onBytes?: (bytes: number) => void;
  /** What rsync.bwlimit says, in bytes a second; of the sender. */
  bandwidthBytes?: number;
}

/** Files that went away while they were sent. */
const vanished = 24;

/**
 * rsync has no option to talk over descriptors that it is given; it starts what -e says and talks to that. So we give it this: two loops between its standard
 * streams and descriptors 3 and 4, which are our pipes. The end of what comes from the other side ends it.
 */
const bridge = [
  'open my $in, q(<&=3) or exit 1; open my $out, q(>&=4) or exit 1; binmode $_ for $in, $out, *STDIN, *STDOUT;',
  'sub pump { my ($from, $to) = @_; while (my $n = sysread $from, my $b, 262144) { my $o = 0;',
  'while ($o < $n) { my $w = syswrite $to, $b, $n - $o, $o; exit 1 unless defined $w; $o += $w } } }',
  'my $pid = fork; exit 1 unless defined $pid; unless ($pid) { pump(*STDIN, $out); exit 0 }',
  'pump($in, *STDOUT); kill TERM => $pid; exit 0',
].join(' ');

/** Receives a tree into a directory, which becomes what the sender has. @throws Fault unavailable (lost, cancelled, no space), internal */
export async function receiveTree(link: FrameLink, target: string, options: RsyncOptions): Promise<void> {
  // Times to the nanosecond: a file that was written twice within a second, and kept its size, is not taken for unchanged.
  const own = ['--modify-window=-1', ...(options.thorough ? ['--ignore-times'] : [])];
  const agreed = ['--numeric-ids', '--devices', '--partial', '--sparse', ...rsyncArguments(options.features)];
  const args = ['--server', '-vlogDtpre.iLsfx', ...own, ...agreed, '.', target];
  const child = start('rsync', args, { stdin: 'pipe', stdout: 'pipe', stderr: 'pipe' });
  await talk(link, child, { to: child.stdin, from: child.stdout }, args, options, 'in');
}

/** Sends a tree. @throws Fault as receiveTree */
export async function sendTree(link: FrameLink, source: string, options: RsyncOptions): Promise<void> {
  const limit = options.bandwidthBytes ? [`--bwlimit=${Math.max(1, Math.ceil(options.bandwidthBytes / 1024))}`] : [];
  const features = rsyncArguments(options.features);
  // The place named is the other side's choice; the name is only there to make rsync speak to a server.
  const args = [
    '-ar',
    '--devices',
    '--numeric-ids',
    '--partial',
    '--sparse',
    ...limit,
    ...features,
    `${source}/`,
    'localhost:/tmp/foo',
    '-e',
    `perl -e '${bridge}'`,
  ];
  const [toChild, fromChild] = [makePipe(256 * 1024), makePipe(256 * 1024)];
  let child: RunningProgram;
  try {
    child = start('rsync', args, { stdin: 'null', stdout: 'null', stderr: 'pipe', fds: { 3: toChild.readFd, 4: fromChild.writeFd } });
  } catch (error) {
    closeFd(toChild.writeFd);
    closeFd(fromChild.readFd);
    throw error;
  } finally {
    closeFd(toChild.readFd);
    closeFd(fromChild.writeFd);
  }
  await talk(link, child, { to: writerOf(toChild.writeFd), from: readerOf(fromChild.readFd) }, args, options, 'out');
}

/** Both directions until rsync has ended and each side has said its end. */
async function talk(
  link: FrameLink,
  child: RunningProgram,
  { to, from }: { to: Writable; from: Readable },
  args: readonly string[],
  { signal, onBytes }: RsyncOptions,
  counted: 'in' | 'out',
): Promise<void> {
  let broken: unknown;
  const stop = (error: unknown): void => {
    broken ??= error ?? fault.unavailable('The migration was cancelled');
    child.kill('SIGKILL', true);
    to.destroy();
    from.destroy();
  };
  const onAbort = (): void => stop(fault.unavailable('The migration was cancelled', { cause: signal?.reason }));
  if (signal?.aborted) onAbort();
  signal?.addEventListener('abort', onAbort, { once: true });
  // rsync that has ended reads no more: what still comes up to the end of the stream is let through.
  to.on('error', () => {});
  let bytes = 0;
  const count = (direction: 'in' | 'out', chunk: Buffer): void => {
    if (direction === counted) onBytes?.((bytes += chunk.length));
  };
  const incoming = async (): Promise<void> => {
    for await (const chunk of link.stream() as AsyncIterable<Buffer>) {
      count('in', chunk);
      if (to.writable && !to.write(chunk)) await drained(to);
    }
    to.end();
  };
  const outgoing = async (): Promise<void> => {
    for await (const chunk of from as AsyncIterable<Buffer>) {
      count('out', chunk);
      await link.send(chunk);
    }
    await link.end();
  };
  let words: Buffer = Buffer.alloc(0);
  child.stderr.on('data', (chunk: Buffer) => (words = Buffer.concat([words, chunk]).subarray(-4000)));
  try {
    const both = Promise.all([incoming(), outgoing()]).catch(stop);
    const ending = await child.ended;
    if (ending.code !== 0 && ending.code !== vanished) {
      // The other side may wait for us: it learns over the control connection.
      stop(
        /No space left on device|Disk quota exceeded/.test(words.toString('latin1'))
          ? fault.unavailable('No space left on the storage pool', { status: 500 })
          : programFailed('rsync', args.slice(0, 12), ending, words, 'Failed to transfer the files of a volume'),
      );
    } else {
      await both;
    }
    if (broken !== undefined) throw broken;
  } finally {
    signal?.removeEventListener('abort', onAbort);
    to.destroy();
    from.destroy();
  }
}

function drained(stream: Writable): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      stream.off('drain', done).off('close', done).off('error', done);
      resolve();
    };
    stream.on('drain', done).on('close', done).on('error', done);
  });
}
