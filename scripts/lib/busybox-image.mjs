// A container image of a few megabytes out of the machine's own static busybox: an init, a shell, DHCP.
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const files = {
  'etc/inittab': '::sysinit:/etc/rcS\n::respawn:/bin/getty -L console 0 vt100\n::ctrlaltdel:/bin/reboot\n::shutdown:/bin/true\n',
  'etc/passwd': 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/tmp:/bin/sh\n',
  'etc/group': 'root:x:0:\nuser:x:1000:\n',
  'etc/rcS':
    '#!/bin/sh\nhostname -F /etc/hostname 2>/dev/null\nip link set lo up\n[ -e /sys/class/net/eth0 ] && ip link set eth0 up && udhcpc -i eth0 -b -S -s /usr/share/udhcpc/default.script -F "$(hostname)" >/dev/null 2>&1\nexit 0\n',
  'usr/share/udhcpc/default.script':
    '#!/bin/sh\ncase $1 in\n  deconfig) ip addr flush dev $interface; ip link set $interface up ;;\n  bound|renew)\n    ip addr flush dev $interface\n    ip addr add $ip/${mask:-24} dev $interface\n    [ -n "$router" ] && ip route replace default via ${router%% *} dev $interface\n    : > /etc/resolv.conf\n    [ -n "$domain" ] && echo "search $domain" >> /etc/resolv.conf\n    for server in $dns; do echo "nameserver $server" >> /etc/resolv.conf; done ;;\nesac\n',
};
const executable = new Set(['etc/rcS', 'usr/share/udhcpc/default.script']);
const directories = [
  'bin',
  'sbin',
  'etc',
  'proc',
  'sys',
  'dev',
  'tmp',
  'root',
  'run',
  'var/log',
  'usr/bin',
  'usr/sbin',
  'usr/share/udhcpc',
  'mnt',
  'home',
  'lib',
];
const architectures = { x64: 'x86_64', arm64: 'aarch64' };

/** Writes a unified image to `target` and returns it. `name` goes into its description. */
export function makeBusyboxImage(target, name = 'busybox') {
  const work = mkdtempSync(join(tmpdir(), 'muster-image-'));
  try {
    const rootfs = join(work, 'rootfs');
    for (const directory of directories) mkdirSync(join(rootfs, directory), { recursive: true });
    copyFileSync('/bin/busybox', join(rootfs, 'bin/busybox'));
    const applets = spawnSync('/bin/busybox', ['--list'], { encoding: 'utf8' })
      .stdout.split('\n')
      .filter((applet) => applet && applet !== 'busybox');
    for (const applet of applets) symlinkSync('busybox', join(rootfs, 'bin', applet));
    symlinkSync('../bin/busybox', join(rootfs, 'sbin/init'));
    for (const [path, text] of Object.entries(files)) writeFileSync(join(rootfs, path), text, { mode: executable.has(path) ? 0o755 : 0o644 });
    const metadata = {
      architecture: architectures[process.arch],
      creation_date: 1_700_000_000,
      properties: {
        os: 'busybox',
        description: `${name} ${architectures[process.arch]}`,
        name: `${name}-${architectures[process.arch]}`,
        release: 'muster',
      },
      templates: { '/etc/hostname': { when: ['create', 'copy', 'rename'], template: 'hostname.tpl' } },
    };
    writeFileSync(join(work, 'metadata.yaml'), JSON.stringify(metadata));
    mkdirSync(join(work, 'templates'));
    writeFileSync(join(work, 'templates/hostname.tpl'), '{{ container.name }}\n');
    const done = spawnSync('tar', ['-C', work, '--numeric-owner', '--owner=0', '--group=0', '-czf', target, 'metadata.yaml', 'templates', 'rootfs']);
    if (done.status !== 0) throw new Error(`tar: ${done.stderr}`);
    return target;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
