import { createHash } from 'node:crypto';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { idmapLines, run, runOk, type Idmap } from '#host-kit';
import { silent, systemClock } from '#kit';
import { DirectMembers, type HostContext } from '#members';
import { NetworksAgent } from '#networks/host';
import { createNetwork, network, networkOn, networksState } from '#networks/state';
import type { ManagedNetwork } from '#networks/model';
import { projectsState } from '#projects/state';
import { internalIdentity } from '#replica/state';
import { storageState } from '#storage/state';
import { MemoryReplica } from '#testkit';
import type { DeviceOwner, PreparedDevice } from '../device-driver.js';

/** A small member for integration specs: a replica in memory, real networks, real containers of busybox; all names carry the hash of its directory. */
export class Rig {
  readonly stateDir = mkdtempSync(join(tmpdir(), 'muster-dev-'));
  readonly hash = createHash('sha256').update(this.stateDir).digest('hex').slice(0, 6);
  readonly table = `muster_${this.hash}`;
  /** Two octets for subnets: 10.A.B.0/24. */
  readonly prefix = `10.${parseInt(this.hash.slice(0, 2), 16) % 255}.${parseInt(this.hash.slice(2, 4), 16) % 255}`;
  readonly bridge = `mr${this.hash}`;
  replica: MemoryReplica;
  context: HostContext;
  networks: NetworksAgent;
  readonly #containers = new Set<string>();

  async open(config: Record<string, string> = {}, withNetwork = true): Promise<this> {
    // Roots of unprivileged containers are looked up by ids that nobody has.
    chmodSync(this.stateDir, 0o711);
    this.replica = await MemoryReplica.open({ wings: [projectsState, networksState, storageState] });
    this.context = {
      replica: this.replica,
      members: new DirectMembers({ checked: true, memberName: () => 'none' }),
      server: { stateDir: this.stateDir, memberName: () => 'none', memberId: 1, fingerprint: () => this.hash },
      naming: { hash: this.hash, nftTable: this.table, lxc: (_project: string, name: string) => `${this.hash}-${name}` },
      clock: systemClock,
      log: silent,
    } as unknown as HostContext;
    this.networks = new NetworksAgent(this.context);
    if (!withNetwork) return this;
    const payload = {
      project: 'default',
      name: this.bridge,
      type: 'bridge',
      description: '',
      config: {
        'ipv4.address': `${this.prefix}.1/24`,
        'ipv6.address': `fd42:${this.hash.slice(0, 4)}::1/64`,
        'ipv6.dhcp.stateful': 'true',
        ...config,
      },
      members: [1],
    };
    await this.replica.submit(createNetwork, payload, { identity: internalIdentity });
    await this.networks.start();
    return this;
  }

  get network(): ManagedNetwork {
    return networkOn(network(this.replica.reader, 'default', this.bridge), 1)!;
  }

  async close(): Promise<void> {
    for (const name of this.#containers) await this.stop(name);
    await this.networks.shutdown();
    await run('nft', ['-f', '-'], {
      input: ['inet', 'bridge', 'netdev'].map((family) => `add table ${family} ${this.table}\ndelete table ${family} ${this.table}\n`).join(''),
    });
    await this.replica.close();
    rmSync(this.stateDir, { recursive: true, force: true });
  }

  /** An instance that devices can be given to. Its volatile keys land in its config, as the instance's row would have them. */
  owner(id: number, name: string, devices: DeviceOwner['devices'], more: Partial<DeviceOwner> = {}): DeviceOwner & { device: string } {
    const config: Record<string, string> = { ...more.config };
    return {
      id,
      project: 'default',
      name,
      type: 'container',
      devices,
      devicesDir: join(this.stateDir, 'devices', name),
      injectDir: join(this.stateDir, 'shmounts', name),
      lxcPath: this.#lxcPath,
      device: Object.keys(devices)[0]!,
      ...more,
      config,
      setVolatile: (keys) => {
        for (const [key, value] of Object.entries(keys)) {
          const whole = `volatile.${Object.keys(devices)[0]!}.${key}`;
          if (value === '') delete config[whole];
          else config[whole] = value;
        }
        return Promise.resolve();
      },
    };
  }

  /** Starts a container with what its devices prepared. @returns the pid of its init */
  async start(name: string, prepared: readonly PreparedDevice[], idmap?: Idmap): Promise<number> {
    const rootfs = join(this.stateDir, 'rootfs', name);
    makeRootfs(rootfs);
    const lines = [
      `lxc.uts.name = ${name}`,
      `lxc.rootfs.path = dir:${rootfs}`,
      'lxc.mount.auto = proc:rw sys:mixed',
      'lxc.autodev = 1',
      'lxc.tty.max = 0',
      'lxc.cgroup.devices.deny = a',
      'lxc.cgroup.devices.allow = c 1:3 rwm',
      'lxc.cgroup.devices.allow = c 5:0 rwm',
      ...(idmap ? [...idmapLines(idmap).map((line) => `lxc.idmap = ${line}`), 'lxc.rootfs.options = idmap=container'] : []),
      ...prepared.flatMap(({ lxc }) => lxc.map(([key, value]) => `${key} = ${value}`)),
    ];
    const config = join(this.stateDir, `${name}.conf`);
    writeFileSync(config, `${lines.join('\n')}\n`);
    mkdirSync(this.#lxcPath, { recursive: true });
    this.#containers.add(name);
    const log = join(this.stateDir, `${name}.log`);
    await runOk('lxc-start', ['-P', this.#lxcPath, '-n', this.#lxcName(name), '-f', config, '-o', log, '-l', 'INFO'], { timeoutMs: 20_000 });
    const pid = await this.pid(name);
    for (const { afterStart } of prepared) await afterStart?.(pid);
    return pid;
  }

  async pid(name: string): Promise<number> {
    return Number((await runOk('lxc-info', ['-P', this.#lxcPath, '-n', this.#lxcName(name), '-p', '-H'])).toString());
  }

  async stop(name: string): Promise<void> {
    await run('lxc-stop', ['-P', this.#lxcPath, '-n', this.#lxcName(name), '-k']);
    await run('lxc-wait', ['-P', this.#lxcPath, '-n', this.#lxcName(name), '-s', 'STOPPED', '-t', '5']);
    this.#containers.delete(name);
  }

  /** Runs a busybox command line inside. @returns what it said, and its code at the end when it failed */
  async inside(name: string, ...words: string[]): Promise<string> {
    const result = await run('lxc-attach', ['-P', this.#lxcPath, '-n', this.#lxcName(name), '--clear-env', '--', '/bin/busybox', ...words], {
      timeoutMs: 20_000,
    });
    return `${result.stdout.toString()}${result.stderr.toString()}${result.code === 0 ? '' : `[code ${result.code}]`}`.trim();
  }

  get #lxcPath(): string {
    return join(this.stateDir, 'lxc');
  }

  #lxcName(name: string): string {
    return `${this.hash}-${name}`;
  }
}

function makeRootfs(root: string): void {
  for (const dir of ['bin', 'sbin', 'etc', 'proc', 'sys', 'dev', 'tmp', 'root', 'mnt']) mkdirSync(join(root, dir), { recursive: true });
  cpSync('/usr/bin/busybox', join(root, 'bin/busybox'));
  symlinkSync('../bin/busybox', join(root, 'sbin/init'));
  for (const tool of ['sh', 'ip', 'sleep']) symlinkSync('busybox', join(root, 'bin', tool));
  writeFileSync(join(root, 'etc/inittab'), '::sysinit:/bin/ip link set lo up\n::respawn:/bin/sleep 1000\n');
}
