import { describe, expect, it } from 'vitest';
import { zeroTime } from '#api-contract';
import { type BackupIndex, checkBackupName, compareSnapshots, copiedConfig, nextBackupName, parseIndex, renderIndex, withoutRun } from './index.js';

const index: BackupIndex = {
  name: 'c1',
  backend: 'dir',
  pool: 'default',
  snapshots: ['snap0', '2024-01-01'],
  optimized: false,
  optimized_header: false,
  type: 'container',
  config: {
    container: {
      architecture: 'x86_64',
      config: {
        'user.yes': 'yes',
        'user.null': 'null',
        'user.number': '0x10',
        'user.date': '2024-01-01',
        'user.lines': 'a\nb: c\n',
        'limits.cpu': '2',
      },
      devices: { root: { path: '/', pool: 'default', type: 'disk' } },
      ephemeral: false,
      profiles: ['default'],
      stateful: false,
      description: '',
      created_at: '2026-11-23T18:46:53.123Z',
      expanded_config: {},
      expanded_devices: {},
      name: 'c1',
      status: 'Stopped',
      status_code: 102,
      last_used_at: zeroTime,
      location: 'none',
      type: 'container',
      project: 'default',
    },
    snapshots: [],
    profiles: [],
    volume_snapshots: [{ name: 'snap0', description: '', expires_at: zeroTime, config: {}, content_type: 'filesystem' }],
  },
};

describe('index.yaml', () => {
  it('comes back as it was written, whatever the values look like', () => {
    expect(parseIndex(renderIndex(index))).toEqual(index);
  });

  it('is read as LXD writes it', () => {
    const read = parseIndex(`name: c1
backend: btrfs
pool: default
optimized: true
optimized_header: true
type: container
config:
  container:
    architecture: x86_64
    config:
      image.os: Busybox
      security.nesting: "true"
      volatile.last_state.idmap: '[{"Isuid":true,"Isgid":false,"Hostid":1000000,"Nsid":0,"Maprange":1000000000}]'
    devices: {}
    ephemeral: false
    profiles:
    - default
    stateful: false
    description: ""
    created_at: 2026-11-23T18:46:53.846910132Z
    name: c1
    status: Stopped
    status_code: 102
    last_used_at: 1970-01-01T00:00:00Z
    location: none
    type: container
    project: default
  volume_snapshots:
  - description: ""
    expires_at: null
    name: c1/snap0
    config: {}
    content_type: filesystem
    created_at: 0001-01-01T00:00:00Z
`);
    expect(read).toMatchObject({ optimized: true, optimized_header: true, snapshots: [] });
    expect(read.config.container).toMatchObject({ status_code: 102, created_at: '2026-11-23T18:46:53.846Z', config: { 'security.nesting': 'true' } });
    expect(read.config.volume_snapshots).toMatchObject([{ name: 'snap0', expires_at: zeroTime }]);
  });

  it('is refused when a name leads elsewhere, is no map, or is a bomb', () => {
    const named = (name: string): string => renderIndex({ ...index, name });
    for (const name of ['../c1', '..', '.', '', '-C', 'a/b', 'a\u0000b', 'x'.repeat(300)]) expect(() => parseIndex(named(name))).toThrow('bad name');
    for (const snapshot of ['../x', '', '/etc']) expect(() => parseIndex(renderIndex({ ...index, snapshots: [snapshot] }))).toThrow('bad name');
    expect(() => parseIndex(renderIndex({ ...index, snapshots: ['a', 'a'] }))).toThrow('twice');
    expect(() => parseIndex(renderIndex({ ...index, pool: '../../x' }))).toThrow('bad name');
    expect(() => parseIndex('- 1\n- 2\n')).toThrow('must be a map');
    expect(() => parseIndex('a: [')).toThrow('cannot be read');
    expect(() => parseIndex('name: c\npool: p\nsnapshots: x\n')).toThrow('must be a list');
    expect(() => parseIndex('a: &a [x, x]\nb: &b [*a, *a]\nname: [*b, *b]\n')).toThrow();
    expect(() => parseIndex('type: ../../x\n')).toThrow('Unknown backup type');
  });
});

describe('backup names', () => {
  it('are given one above the highest', () => {
    expect(nextBackupName([])).toBe('backup0');
    expect(nextBackupName(['backup0', 'backup7', 'mine', 'backup8x'])).toBe('backup8');
  });

  it('are one part of a path', () => {
    expect(() => checkBackupName('a/b')).toThrow('Backup names may not contain slashes');
    for (const name of ['', '.', '..', 'a\nb']) expect(() => checkBackupName(name)).toThrow('Invalid backup name');
  });
});

describe('copies', () => {
  it('leave volatile keys behind but the image and the ids on the disk', () => {
    const source = {
      'volatile.uuid': '1',
      'volatile.eth0.hwaddr': 'aa',
      'volatile.base_image': 'f',
      'volatile.last_state.idmap': '[]',
      'user.a': '1',
      'image.os': 'x',
    };
    expect(copiedConfig(source, { 'user.a': '2' })).toEqual({
      'volatile.base_image': 'f',
      'volatile.last_state.idmap': '[]',
      'user.a': '2',
      'image.os': 'x',
    });
  });

  it('that come with their volatile keys do not bring what was true of a run', () => {
    const kept = { 'volatile.uuid': '1', 'volatile.eth0.hwaddr': 'aa', 'volatile.last_state.idmap': '[]', 'user.a': '1' };
    const gone = {
      'volatile.eth0.host_name': 'veth1',
      'volatile.a.b.host_name': 'veth2',
      'volatile.eth0.last_state.mtu': '1500',
      'volatile.last_state.power': 'RUNNING',
      'volatile.idmap.next': '[]',
      'volatile.idmap.base': '0',
    };
    expect(withoutRun({ ...kept, ...gone })).toEqual(kept);
  });

  it('send what the target lacks or has from another time', () => {
    const source = [
      { name: 'a', createdAt: 1000 },
      { name: 'b', createdAt: 2000 },
      { name: 'c', createdAt: 3400 },
    ];
    const target = [
      { name: 'b', createdAt: 9000 },
      { name: 'c', createdAt: 3000 },
      { name: 'x', createdAt: 1 },
    ];
    expect(compareSnapshots(source, target)).toEqual({ send: [source[0], source[1]], remove: ['b', 'x'] });
  });
});
