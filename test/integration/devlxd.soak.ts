import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { GuestClient } from '../support/guest-client.js';
import { Server, until } from '../support/server.js';

let server: Server;
let busy: GuestClient;
let other: GuestClient;

beforeAll(async () => {
  server = await Server.start();
  await server.furnish({ network: false });
  await server.ok(['launch', 'busybox', 'busy']);
  await server.ok(['launch', 'busybox', 'other']);
  [busy, other] = await Promise.all([new GuestClient(server, 'busy').install(), new GuestClient(server, 'other').install()]);
}, 120_000);
afterAll(() => server?.stop(), 120_000);

/** Seconds of processor that the daemon has used. */
const used = (): number => {
  const fields = readFileSync(`/proc/${server.pid}/stat`, 'latin1').split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
};

const perl = (body: string): string => `
use strict; use warnings; use Socket; $SIG{PIPE} = 'IGNORE';
sub dial { socket my $s, PF_UNIX, SOCK_STREAM, 0 or return; connect $s, sockaddr_un('/dev/lxd/sock') or return; return $s }
my $request = "GET /1.0/config HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"; my $end = time + 6; my @kept;
${body}`;

const floods = {
  'connections that come and go': perl('while (time < $end) { my $s = dial(); if ($s) { syswrite $s, $request; close $s } }'),
  'connections that stay': perl('while (time < $end) { my $s = dial(); push @kept, $s if $s; select undef, undef, undef, 0.0001 }'),
  'requests one upon the other': perl('while (time < $end) { my $s = dial() or next; while (time < $end) { syswrite $s, $request x 1000 or last } }'),
};

for (const [name, program] of Object.entries(floods)) {
  it(`is not slowed by a busy guest: ${name}`, async () => {
    await server.ok(['file', 'push', '-', 'busy/flood.pl'], { input: program });
    const flood = server.lxc(['exec', 'busy', '--', 'sh', '-c', 'for i in 1 2 3; do perl /flood.pl & done; wait']);
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    const before = used();
    const since = performance.now();
    expect(await other.get('/')).toMatchObject({ status: 200 });
    while (performance.now() - since < 3_000) {
      await server.api.get('/1.0/profiles');
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const share = (used() - before) / ((performance.now() - since) / 1000);
    // A twentieth where it was measured: the rest is room for slower machines.
    expect(share, `${Math.round(share * 100)} % of a processor`).toBeLessThan(0.5);
    await flood;
    // And when it has come to its senses it is heard again, soon.
    await until('an answer', async () => (await busy.raw('GET / HTTP/1.0\r\n\r\n')).stdout.endsWith('["/1.0"]\n'));
  });
}
