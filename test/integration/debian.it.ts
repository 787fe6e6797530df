import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { InstanceState } from '#api-contract';
import { Server, until } from '../support/server.js';

/** Kept between runs: it takes a quarter of a minute and a mirror to make. */
const image = '/var/tmp/muster-test-debian.tar';

/** A Debian 12 with systemd as a unified image; false where mmdebstrap or a mirror is missing. */
function makeDebian(): boolean {
  if (existsSync(image)) return true;
  if (!existsSync('/usr/bin/mmdebstrap')) return false;
  const work = `${image}.d`;
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work);
  const packages = 'systemd-sysv,dbus,iproute2,isc-dhcp-client,ifupdown';
  const network = 'printf "auto eth0\\niface eth0 inet dhcp\\n" > "$1/etc/network/interfaces"';
  const made = spawnSync(
    'mmdebstrap',
    ['--variant=minbase', `--include=${packages}`, `--customize-hook=${network}`, 'bookworm', join(work, 'rootfs')],
    {
      stdio: 'ignore',
      timeout: 240_000,
    },
  );
  if (made.status === 0) {
    writeFileSync(
      join(work, 'metadata.yaml'),
      'architecture: x86_64\ncreation_date: 1700000000\nproperties: {os: debian, release: bookworm, description: Debian 12}\ntemplates:\n  /etc/hostname:\n    when: [create, copy]\n    template: hostname.tpl\n',
    );
    mkdirSync(join(work, 'templates'));
    writeFileSync(join(work, 'templates/hostname.tpl'), '{{ container.name }}\n');
    spawnSync('tar', ['-C', work, '--numeric-owner', '-cf', image, 'metadata.yaml', 'templates', 'rootfs']);
  }
  rmSync(work, { recursive: true, force: true });
  return existsSync(image);
}

const available = makeDebian();
let server: Server;

describe.skipIf(!available)('a Debian with systemd (skipped without mmdebstrap and a mirror)', () => {
  beforeAll(async () => {
    server = await Server.start();
    await server.furnish({ image: false });
    await server.ok(['image', 'import', image, '--alias', 'debian'], { timeoutMs: 120_000 });
    await server.ok(['launch', 'debian', 'd1'], { timeoutMs: 120_000 });
  }, 300_000);
  afterAll(() => server?.stop(), 120_000);

  it('boots to a running system', async () => {
    await until(
      'systemd is done',
      async () => /^(running|degraded)/.test((await server.lxc(['exec', 'd1', '--', 'systemctl', 'is-system-running'])).stdout),
      60_000,
    );
    expect(await server.ok(['exec', 'd1', '--', 'hostname'])).toBe('d1\n');
  });

  it('gets its address by DHCP and is found by name', async () => {
    const address = async (): Promise<string | undefined> =>
      (await server.api.get<InstanceState>('/1.0/instances/d1/state')).network?.eth0?.addresses.find(({ family }) => family === 'inet')?.address;
    await until('an address', async () => (await address()) !== undefined, 60_000);
    const leases = await server.api.get<{ hostname: string; address: string }[]>(`/1.0/networks/${server.bridge}/leases`);
    expect(leases.find(({ hostname }) => hostname === 'd1')?.address).toBe(await address());
    const found = await server.ok(['exec', 'd1', '--', 'getent', 'hosts', 'd1.lxd']);
    expect(found).toContain(await address());
  });

  it('stops cleanly, without being killed', async () => {
    const began = Date.now();
    await server.ok(['stop', 'd1', '--timeout', '30']);
    expect(Date.now() - began).toBeLessThan(30_000);
    expect((await server.api.get<InstanceState>('/1.0/instances/d1/state')).status).toBe('Stopped');
  });
});
