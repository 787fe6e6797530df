import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Run, Server } from './server.js';

/** Sends its input to /dev/lxd/sock and prints what comes, until the other side ends, as many events came as were asked for, or the time is over. */
const program = String.raw`
use strict; use warnings; use Socket;
my ($events, $seconds) = @ARGV;
alarm $seconds; $SIG{ALRM} = sub { exit 3 }; $| = 1;
socket my $s, PF_UNIX, SOCK_STREAM, 0 or die "socket: $!\n";
connect $s, sockaddr_un('/dev/lxd/sock') or die "connect: $!\n";
local $/; my $request = <STDIN>; syswrite $s, $request;
my $seen = 0;
while (sysread $s, my $bytes, 65536) { print $bytes; $seen += () = $bytes =~ /"timestamp"/g; exit 0 if $events && $seen >= $events }
`;

export interface GuestAnswer {
  status: number;
  headers: string;
  body: string;
}

/** A client inside a container of busybox, which has none for unix sockets: the host's own perl, with what it needs to run. */
export class GuestClient {
  constructor(
    private readonly server: Server,
    private readonly name: string,
  ) {}

  async install(): Promise<this> {
    const folder = mkdtempSync(join(tmpdir(), 'muster-guest-'));
    try {
      const perl = '/usr/bin/perl';
      const libraries = [...execFileSync('ldd', [perl], { encoding: 'utf8' }).matchAll(/\s(\/\S+) \(0x/g)].map((match) => match[1]!);
      const modules = execFileSync(perl, ['-MSocket', '-Mstrict', '-Mwarnings', '-e', 'print join "\n", values %INC'], { encoding: 'utf8' }).split(
        '\n',
      );
      const shared = execFileSync(perl, ['-MSocket', '-MDynaLoader', '-e', 'print @DynaLoader::dl_shared_objects'], { encoding: 'utf8' });
      const files = [perl, ...libraries, ...modules, ...shared.split('\n')].filter((file) => file.startsWith('/'));
      mkdirSync(join(folder, 'root'));
      writeFileSync(join(folder, 'root/guest.pl'), program);
      const tar = join(folder, 'guest.tar');
      // Its interpreter and libraries are found where they are on the host, so the paths stay.
      execFileSync('tar', ['-chf', tar, '-C', join(folder, 'root'), 'guest.pl', '-C', '/', ...new Set(files.map((file) => file.slice(1)))]);
      await this.server.ok(['file', 'push', tar, `${this.name}/root/guest.tar`]);
      await this.server.ok(['exec', this.name, '--', 'tar', 'xf', '/root/guest.tar', '-C', '/']);
    } finally {
      rmSync(folder, { recursive: true });
    }
    return this;
  }

  /**
   * What comes back for `request`, raw.
   * @param options.events ends after as many
   * @param options.copy file inside that has, meanwhile, what has come
   */
  raw(
    request: string,
    { events = 0, seconds = 20, user = 0, copy = '/dev/null' }: { events?: number; seconds?: number; user?: number; copy?: string } = {},
  ): Promise<Run> {
    const command = `LC_ALL=C perl /guest.pl ${events} ${seconds} | tee ${copy}`;
    return this.server.lxc(['exec', this.name, '--user', String(user), '--', 'sh', '-c', command], { input: request });
  }

  async get(path: string, options: { user?: number } = {}): Promise<GuestAnswer> {
    const { stdout, stderr, code } = await this.raw(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`, options);
    const split = stdout.indexOf('\r\n\r\n');
    if (split < 0) throw new Error(`no answer to ${path}: ${code} ${stderr}`);
    const headers = stdout.slice(0, split);
    const body = stdout.slice(split + 4);
    return { status: Number(headers.split(' ')[1]), headers, body: /transfer-encoding: chunked/i.test(headers) ? unchunked(body) : body };
  }
}

function unchunked(text: string): string {
  let body = '';
  for (let at = 0; ;) {
    const end = text.indexOf('\r\n', at);
    const length = parseInt(text.slice(at, end), 16);
    if (!(length > 0)) return body;
    body += text.slice(end + 2, end + 2 + length);
    at = end + 4 + length;
  }
}
