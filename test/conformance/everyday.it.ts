import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Instance, Profile } from '#api-contract';
import { covers } from '../support/covers.js';
import { Server, until } from '../support/server.js';

let server: Server;
type Document = Record<string, unknown>;
const get = <T = Document>(path: string): Promise<T> => server.api.get<T>(path);
const patch = (path: string, body: unknown, headers: Record<string, string> = {}): Promise<unknown> =>
  server.api.change('PATCH', path, body, headers);

beforeAll(async () => {
  server = await Server.start();
  await server.furnish();
  await server.ok(['launch', 'busybox', 'c1']);
}, 120_000);
afterAll(() => server?.stop(), 120_000);

describe('GET /1.0', () => {
  it('tells what the kernel, liblxc and the firewall can do', async () => {
    covers('kernel_features', 'lxc_features', 'seccomp_notify', 'firewall_driver', 'api_os', 'server_instance_driver_operational');
    const { environment } = await get<{ environment: Record<string, never> }>('/1.0');
    expect(environment).toMatchObject({
      kernel_features: { netnsid_getifaddrs: expect.stringMatching(/^(true|false)$/), seccomp_listener: expect.stringMatching(/^(true|false)$/) },
      lxc_features: { cgroup2: expect.stringMatching(/^(true|false)$/) },
      firewall: expect.stringMatching(/^(nftables|xtables)$/),
      os_name: /^NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'))![1],
      driver: expect.stringContaining('lxc'),
      driver_version: expect.stringMatching(/^\d+\.\d+/),
    });
  });

  it('lets browsers of one origin in, with their credentials where that is allowed', async () => {
    covers('https_allowed_credentials');
    await patch('/1.0', { config: { 'core.https_allowed_origin': 'https://ui.example', 'core.https_allowed_credentials': 'true' } });
    const { headers } = await server.api.raw('GET', '/1.0', undefined, { origin: 'https://ui.example' });
    expect(headers).toMatchObject({ 'access-control-allow-origin': 'https://ui.example', 'access-control-allow-credentials': 'true' });
    await patch('/1.0', { config: { 'core.https_allowed_origin': '', 'core.https_allowed_credentials': '' } });
  });
});

describe('the machine', () => {
  it('is shown with its processors by socket, die, core and thread', async () => {
    covers(
      'resources_v2',
      'resources_cpu_socket',
      'resources_cpu_core_die',
      'resources_cpu_threads_numa',
      'resources_numa',
      'resources_cpu_isolated',
    );
    const { cpu } = await get<{ cpu: { total: number; sockets: { socket: number; cores: { die: number; threads: Document[] }[] }[] } }>(
      '/1.0/resources',
    );
    const threads = cpu.sockets.flatMap(({ socket, cores }) => {
      expect(socket).toBeGreaterThanOrEqual(0);
      return cores.flatMap((core) => {
        expect(core.die).toBeGreaterThanOrEqual(0);
        return core.threads;
      });
    });
    expect(threads).toHaveLength(cpu.total);
    for (const thread of threads)
      expect(thread).toMatchObject({
        id: expect.any(Number),
        numa_node: expect.any(Number),
        online: expect.any(Boolean),
        isolated: expect.any(Boolean),
      });
    expect(await server.ok(['info', '--resources'])).toMatch(/^CPU/m);
  });

  it('is shown with its buses, its graphics cards and what the firmware says of it', async () => {
    covers('resources_usb_pci', 'resources_gpu', 'resources_system', 'resources_pci_iommu');
    const { usb, pci, gpu, system } = await get<Record<string, { total: number } & Record<string, Document[]>>>('/1.0/resources');
    expect(usb!.devices).toHaveLength(usb!.total);
    expect(pci!.devices).toHaveLength(pci!.total);
    for (const device of pci!.devices!) expect(device).toMatchObject({ pci_address: expect.stringMatching(/:/), iommu_group: expect.any(Number) });
    expect(gpu!.cards).toHaveLength(gpu!.total);
    expect(system).toMatchObject({ uuid: expect.any(String), type: expect.stringMatching(/^(physical|virtual-machine|container)$/) });
  });

  it('is shown with its disks and network cards, and where they are plugged in', async () => {
    covers('resources_disk_sata', 'resources_disk_id', 'resources_disk_address', 'resources_network_usb', 'resources_gpu_usb', 'resources_gpu_mdev');
    const { storage, network } = await get<Record<string, { total: number } & Record<string, Document[]>>>('/1.0/resources');
    expect(storage!.disks).toHaveLength(storage!.total);
    for (const disk of storage!.disks!)
      expect(disk).toMatchObject({
        size: expect.any(Number),
        block_size: expect.any(Number),
        rpm: expect.any(Number),
        device_id: expect.any(String),
      });
    expect(network!.cards).toHaveLength(network!.total);
    for (const { usb_address } of [...storage!.disks!, ...network!.cards!]) expect(usb_address ?? '1:1').toMatch(/^\d+:\d+$/);
  });
});

describe('every object', () => {
  it('is changed only as it was read: one of two writers with the same ETag wins', async () => {
    covers('etag');
    await server.ok(['profile', 'create', 'p']);
    for (const path of [
      '/1.0',
      '/1.0/instances/c1',
      '/1.0/profiles/p',
      `/1.0/networks/${server.bridge}`,
      '/1.0/storage-pools/default',
      '/1.0/projects/default',
    ]) {
      const { etag } = (await server.api.raw('GET', path)).headers;
      expect(etag, path).toMatch(/^"?[0-9a-f]{64}"?$/);
      await expect(patch(path, { description: 'x', config: {} }, { 'if-match': '"nope"' }), path).rejects.toMatchObject({ status: 412 });
    }
    const { etag } = (await server.api.raw('GET', '/1.0/profiles/p')).headers;
    await patch('/1.0/profiles/p', { description: 'first' }, { 'if-match': etag! });
    await expect(patch('/1.0/profiles/p', { description: 'second' }, { 'if-match': etag! })).rejects.toMatchObject({ status: 412 });
  });

  it('keeps what a PATCH does not name, and has a description', async () => {
    covers('patch', 'entity_description');
    await patch('/1.0/profiles/p', { config: { 'user.a': '1' } });
    await patch('/1.0/profiles/p', { config: { 'user.b': '2' }, description: 'of p' });
    expect(await get<Profile>('/1.0/profiles/p')).toMatchObject({ description: 'of p', config: { 'user.a': '1', 'user.b': '2' } });
    for (const path of ['/1.0/instances/c1', `/1.0/networks/${server.bridge}`, '/1.0/storage-pools/default']) {
      await patch(path, { description: `of ${path}` });
      expect(await get(path)).toMatchObject({ description: `of ${path}` });
    }
    await patch('/1.0/instances/c1', { config: { 'user.c': '3' } });
    expect((await get<Instance>('/1.0/instances/c1')).config).toMatchObject({ 'user.c': '3', 'image.os': expect.any(String) });
  });

  it('names who uses it', async () => {
    covers('profile_usedby', 'usedby_consistency');
    for (const path of ['/1.0/profiles/default', '/1.0/storage-pools/default', `/1.0/networks/${server.bridge}`, '/1.0/projects/default'])
      expect((await get<{ used_by: string[] }>(path)).used_by, path).toContain('/1.0/instances/c1');
  });
});

describe('events', () => {
  it('tell who did what to which object of which project, and where', async () => {
    covers('event_lifecycle', 'event_location', 'event_project', 'event_lifecycle_requestor_address');
    const monitor = server.lxc(['monitor', '--type', 'lifecycle', '--format', 'json'], { timeoutMs: 3_000 });
    await until(
      'the event came',
      async () => {
        await patch('/1.0/profiles/p', { description: `at ${Date.now()}` });
        return false;
      },
      1_500,
    ).catch(() => undefined);
    const event = (await monitor).stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as { metadata: Document } & Document)
      .find(({ metadata }) => metadata.action === 'profile-updated')!;
    expect(event).toMatchObject({
      type: 'lifecycle',
      location: 'none',
      project: 'default',
      metadata: {
        action: 'profile-updated',
        source: '/1.0/profiles/p',
        requestor: { protocol: 'unix', username: expect.any(String), address: expect.any(String) },
      },
    });
  });

  it('and operations say what they are', async () => {
    covers('operation_description');
    const { body } = await server.api
      .raw('POST', '/1.0/instances/c1/exec', JSON.stringify({ command: ['true'] }), { 'content-type': 'application/json' })
      .then(({ text }) => ({ body: JSON.parse(text) as { metadata: { description: string } } }));
    expect(body.metadata.description).toBe('Executing command');
  });
});

describe('a container', () => {
  it('has the properties of its image, the time of its last start and of its processors', async () => {
    covers('container_image_properties', 'container_last_used_at', 'container_cpu_time', 'network_counters_errors_dropped');
    const instance = await get<Instance>('/1.0/instances/c1');
    expect(instance.config).toMatchObject({ 'image.os': expect.any(String) });
    expect(Date.now() - Date.parse(instance.last_used_at)).toBeLessThan(600_000);
    const { cpu, network } = await get<{ cpu: { usage: number }; network: Record<string, { counters: Document }> }>('/1.0/instances/c1/state');
    expect(cpu.usage).toBeGreaterThan(0);
    expect(network.lo!.counters).toMatchObject({ errors_received: 0, errors_sent: 0, packets_dropped_inbound: 0, packets_dropped_outbound: 0 });
  });

  it('has the ids that its keys say: of its own, of a size, at a base, or mapped one by one', async () => {
    covers('id_map', 'id_map_base', 'id_map_current');
    const map = async (config: Record<string, string>): Promise<{ shown: Document[]; real: string }> => {
      await patch('/1.0/instances/c1', { config });
      await server.ok(['restart', '-f', 'c1']);
      const instance = await get<Instance>('/1.0/instances/c1');
      const { pid } = await get<{ pid: number }>('/1.0/instances/c1/state');
      expect(instance.config['volatile.idmap.current']).toBe(instance.config['volatile.idmap.next']);
      return { shown: JSON.parse(instance.config['volatile.idmap.current']!) as Document[], real: readFileSync(`/proc/${pid}/uid_map`, 'latin1') };
    };
    const isolated = await map({ 'security.idmap.isolated': 'true', 'security.idmap.size': '70000' });
    expect(isolated.shown[0]).toMatchObject({ Isuid: true, Nsid: 0, Maprange: 70_000 });
    expect(isolated.real).toMatch(/^\s*0\s+\d+\s+70000\n$/);
    const based = await map({ 'security.idmap.base': String(Number(isolated.shown[0]!.Hostid) + 65_536) });
    expect(based.shown[0]!.Hostid).toBe(Number(isolated.shown[0]!.Hostid) + 65_536);
    await map({ 'security.idmap.isolated': '', 'security.idmap.size': '', 'security.idmap.base': '' });
  });

  it('has the processors and the memory of the type that it is made of', async () => {
    covers('resource_limits');
    await server.ok(['init', 'busybox', 'typed', '--type', 'c2-m1']);
    expect((await get<Instance>('/1.0/instances/typed')).config).toMatchObject({ 'limits.cpu': '2', 'limits.memory': expect.stringMatching(/^1/) });
    await server.ok(['delete', 'typed']);
  });

  it('has the settings of its own kernel that its keys say', async () => {
    covers('linux_sysctl');
    await patch('/1.0/instances/c1', { config: { 'linux.sysctl.net.ipv4.ip_forward': '1' } });
    await server.ok(['restart', '-f', 'c1']);
    expect(await server.ok(['exec', 'c1', '--', 'cat', '/proc/sys/net/ipv4/ip_forward'])).toBe('1\n');
    await patch('/1.0/instances/c1', { config: { 'linux.sysctl.net.ipv4.ip_forward': '' } });
  });

  it('is copied without its state while it runs', async () => {
    covers('container_stateless_copy');
    await server.ok(['copy', 'c1', 'stateless', '--stateless']);
    expect((await get<Instance>('/1.0/instances/stateless')).status).toBe('Stopped');
    await server.ok(['delete', 'stateless']);
  });

  it('becomes an image that is compressed as is wanted, as a file system even', async () => {
    covers('compression_squashfs');
    await server.ok(['publish', '--force', 'c1', '--alias', 'squashed', '--compression', 'squashfs']);
    await server.ok(['init', 'squashed', 'from-squashed']);
    for (const args of [
      ['delete', 'from-squashed'],
      ['image', 'delete', 'squashed'],
    ])
      await server.ok(args);
  });

  it('has the limits of the kernel that its keys say', async () => {
    covers('kernel_limits');
    await patch('/1.0/instances/c1', { config: { 'limits.kernel.nofile': '300:400' } });
    await server.ok(['restart', '-f', 'c1']);
    const { pid } = await get<{ pid: number }>('/1.0/instances/c1/state');
    expect(readFileSync(`/proc/${pid}/limits`, 'latin1')).toMatch(/^Max open files\s+300\s+400\s/m);
    expect(await server.ok(['exec', 'c1', '--', 'sh', '-c', 'ulimit -Sn; ulimit -Hn'])).toBe('300\n400\n');
  });

  it('cannot call what is denied to it', async () => {
    covers('container_syscall_filtering', 'container_syscall_filtering_allow_deny_syntax');
    const makesDirectory = async (): Promise<number> => (await server.lxc(['exec', 'c1', '--', 'mkdir', '/tmp/d'])).code;
    await patch('/1.0/instances/c1', { config: { 'security.syscalls.deny': 'mkdir errno 1\nmkdirat errno 1' } });
    await server.ok(['restart', '-f', 'c1']);
    expect(await makesDirectory()).not.toBe(0);
    await patch('/1.0/instances/c1', { config: { 'security.syscalls.deny': '' } });
    await patch('/1.0/instances/c1', { config: { 'security.syscalls.blacklist': 'unlink errno 1' } });
    await server.ok(['restart', '-f', 'c1']);
    expect(await makesDirectory()).toBe(0);
    await patch('/1.0/instances/c1', { config: { 'security.syscalls.blacklist': '' } });
  });

  it('is not deleted while it is protected', async () => {
    covers('container_protection_delete');
    await server.ok(['init', 'busybox', 'c2', '-c', 'security.protection.delete=true']);
    expect((await server.lxc(['delete', 'c2'])).stderr).toContain('is protected');
    await server.ok(['config', 'unset', 'c2', 'security.protection.delete']);
    await server.ok(['delete', 'c2']);
  });

  it('passes signals on to what is executed in it', async () => {
    covers('container_exec_signal_handling');
    const script = `trap 'echo caught; exit 9' TERM; echo ready; i=0; while [ $i -lt 50 ]; do sleep 0.1; i=$((i+1)); done`;
    const { stdout } = await server.run('/usr/bin/timeout', ['-s', 'TERM', '2', '/usr/bin/lxc', 'exec', 'c1', '-T', '--', 'sh', '-c', script], {});
    expect(stdout).toContain('caught');
  });

  it('has its snapshots by a schedule, also at its start, and their size', async () => {
    covers('snapshot_scheduling', 'snapshot_schedule_aliases', 'snapshot_disk_usage');
    await server.ok(['config', 'set', 'c1', 'snapshots.schedule=@startup, @daily', 'snapshots.pattern=at-start-%d']);
    await server.ok(['restart', '-f', 'c1']);
    expect(await get('/1.0/instances/c1/snapshots')).toEqual(['/1.0/instances/c1/snapshots/at-start-0']);
    expect(await get('/1.0/instances/c1/snapshots/at-start-0')).toMatchObject({ size: expect.any(Number) });
    await expect(patch('/1.0/instances/c1', { config: { 'snapshots.schedule': 'every day' } })).rejects.toThrow('Schedule must be');
    await server.ok(['config', 'unset', 'c1', 'snapshots.schedule']);
    await server.ok(['delete', 'c1/at-start-0']);
  });
});

describe('images', () => {
  it('have profiles, which instances take that name none', async () => {
    covers('image_profiles');
    await server.ok(['profile', 'copy', 'default', 'of-image']);
    const { target } = await get<{ target: string }>('/1.0/images/aliases/busybox');
    await patch(`/1.0/images/${target}`, { profiles: ['of-image'] });
    await server.ok(['init', 'busybox', 'c3']);
    expect((await get<Instance>('/1.0/instances/c3')).profiles).toEqual(['of-image']);
    await server.ok(['delete', 'c3']);
    await patch(`/1.0/images/${target}`, { profiles: ['default'] });
  });
});

describe('images between servers', () => {
  it('are pulled, pushed and relayed, also into a project and out of one', async () => {
    covers('images_push_relay', 'image_source_project', 'images_target_project');
    await using other = await Server.start();
    await other.furnish({ network: false, image: false });
    const [here, there] = ['127.0.0.1:17843', '127.0.0.1:17844'];
    await server.ok(['config', 'set', `core.https_address=${here}`, 'core.trust_password=x']);
    await other.ok(['config', 'set', `core.https_address=${there}`, 'core.trust_password=x']);
    await server.ok(['remote', 'add', 'here', here, '--accept-certificate', '--password', 'x']);
    await server.ok(['remote', 'add', 'there', there, '--accept-certificate', '--password', 'x']);
    const { target } = await get<{ target: string }>('/1.0/images/aliases/busybox');
    await other.ok(['project', 'create', 'p', '-c', 'features.images=true']);
    for (const mode of ['pull', 'push', 'relay']) {
      await server.ok(['image', 'copy', `here:${target}`, 'there:', '--mode', mode, '--target-project', 'p']);
      expect(await other.api.get('/1.0/images?project=p')).toEqual([`/1.0/images/${target}`]);
      expect(await other.api.get('/1.0/images')).toEqual([]);
      await other.ok(['image', 'delete', target, '--project', 'p']);
    }
    await server.ok(['config', 'unset', 'core.https_address']);
  });
});

describe('the server', () => {
  it('keeps its backups and images on volumes where it is told to', async () => {
    covers('daemon_storage');
    await server.ok(['storage', 'volume', 'create', 'default', 'for-images']);
    await server.ok(['config', 'set', 'storage.images_volume=default/for-images']);
    expect((await server.lxc(['storage', 'volume', 'delete', 'default', 'for-images'])).code).not.toBe(0);
    await server.ok(['init', 'busybox', 'c4']);
    await server.ok(['delete', 'c4']);
    await server.ok(['config', 'unset', 'storage.images_volume']);
    await server.ok(['storage', 'volume', 'delete', 'default', 'for-images']);
  });

  it('takes snapshots of volumes by their schedule', { timeout: 120_000 }, async () => {
    covers('volume_snapshot_scheduling');
    await server.ok(['storage', 'volume', 'create', 'default', 'scheduled', 'snapshots.schedule=* * * * *', 'snapshots.pattern=each-minute-%d']);
    const path = '/1.0/storage-pools/default/volumes/custom/scheduled/snapshots';
    await until('a snapshot by schedule', async () => (await get<string[]>(path)).length > 0, 90_000);
    expect((await get<string[]>(path))[0]).toMatch(/each-minute-0$/);
    await server.ok(['storage', 'volume', 'delete', 'default', 'scheduled']);
  });

  it('measures what runs', async () => {
    covers('metrics');
    const { headers, text } = await server.api.raw('GET', '/1.0/metrics');
    expect(headers['content-type']).toMatch(/^text\/plain/);
    for (const family of ['cpu_seconds_total', 'memory_MemTotal_bytes', 'network_receive_bytes_total', 'procs_total', 'filesystem_size_bytes'])
      expect(text).toMatch(new RegExp(`^lxd_${family}\\{.*name="c1".*\\} [0-9.e+]+$`, 'm'));
  });
});
