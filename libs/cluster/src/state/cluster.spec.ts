import { beforeEach, describe, expect, it } from 'vitest';
import { etagOf } from '#api-contract';
import { internalIdentity as identity } from '#replica/state';
import { MemoryReplica } from '#testkit';
import * as state from './index.js';

let replica: MemoryReplica;
const as = { identity };
const submit: MemoryReplica['submit'] = (...args) => replica.submit(...args);
const n1 = { id: 1, name: 'n1', address: '10.0.0.1:8443', architecture: 'x86_64' };
const joiner = (n: number) => ({ name: `n${n}`, address: `10.0.0.${n}:8443`, architecture: 'x86_64' });
const put = { roles: [], failureDomain: '', description: '', config: {}, groups: ['default'] };

beforeEach(async () => {
  replica = await MemoryReplica.open({ wings: [state.clusterState] });
});

describe('a server that stands alone', () => {
  it('has no members, and takes none in', async () => {
    expect(state.isClustered(replica.reader)).toBe(false);
    expect(state.memberName(replica.reader, 1)).toBe('none');
    await expect(submit(state.admitMember, joiner(2), as)).rejects.toThrow("Clustering isn't enabled");
    await expect(submit(state.createGroup, { name: 'g', description: '', members: [] }, as)).rejects.toThrow('This server is not clustered');
  });

  it('becomes the first member once, under its own id, in the default group', async () => {
    await submit(state.enableCluster, n1, as);
    expect(state.members(replica.reader)).toMatchObject([{ id: 1, name: 'n1', state: 'created', groups: ['default'], failureDomain: 'default' }]);
    await expect(submit(state.enableCluster, n1, as)).rejects.toThrow('already clustered');
  });
});

describe('members', () => {
  beforeEach(() => submit(state.enableCluster, n1, as));
  const join = async (n: number): Promise<number> => {
    const { result } = await submit(state.admitMember, joiner(n), as);
    await submit(state.memberJoined, { id: result.id }, as);
    return result.id;
  };

  it('show when they have joined, and not before', async () => {
    const { result } = await submit(state.admitMember, joiner(2), as);
    expect(state.members(replica.reader).map(({ name }) => name)).toEqual(['n1']);
    expect(state.memberAddresses(replica.reader).map(({ id }) => id)).toEqual([1, result.id]);
    await submit(state.memberJoined, { id: result.id }, as);
    expect(state.members(replica.reader).map(({ name }) => name)).toEqual(['n1', 'n2']);
  });

  it('have names and addresses of their own', async () => {
    await join(2);
    await expect(submit(state.admitMember, { ...joiner(3), name: 'n2' }, as)).rejects.toThrow('already has a member with name: n2');
    await expect(submit(state.admitMember, { ...joiner(3), address: joiner(2).address }, as)).rejects.toThrow('already has a member with address');
    for (const name of ['', '@g', 'a b', 'a/b', 'none', '..']) {
      await expect(submit(state.admitMember, { ...joiner(3), name }, as)).rejects.toMatchObject({ kind: 'invalid' });
    }
  });

  it('never get an id that another had', async () => {
    const id = await join(2);
    await submit(state.removeMember, { name: 'n2', force: false }, as);
    expect(await join(2)).toBeGreaterThan(id);
  });

  it('do not leave as the last one', async () => {
    await expect(submit(state.removeMember, { name: 'n1', force: true }, as)).rejects.toMatchObject({
      status: 500,
      message: 'Member is the only member in the cluster',
    });
    await expect(submit(state.removeMember, { name: 'nope', force: true }, as)).rejects.toMatchObject({ kind: 'notFound' });
  });

  it('let only one of two writers with the same ETag win', async () => {
    const ifMatch = etagOf(state.memberEtag(state.member(replica.reader, 'n1')));
    const change = (description: string) => submit(state.updateMember, { name: 'n1', put: { ...put, description }, ifMatch }, as);
    expect((await Promise.allSettled([change('one'), change('two')])).map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
  });

  it('refuse roles, groups and keys that there are not', async () => {
    const change = (more: object) => submit(state.updateMember, { name: 'n1', put: { ...put, ...more } }, as);
    await expect(change({ roles: ['database'] })).rejects.toThrow('The "database" role cannot be added at this time');
    await expect(change({ roles: ['boss'] })).rejects.toThrow('Invalid cluster role');
    await expect(change({ groups: [] })).rejects.toThrow('need to belong to at least one group');
    await expect(change({ groups: ['nope'] })).rejects.toMatchObject({ kind: 'notFound' });
    await expect(change({ config: { nope: '1' } })).rejects.toThrow('Invalid cluster configuration key "nope"');
    await expect(change({ config: { 'scheduler.instance': 'x' } })).rejects.toThrow('Invalid cluster configuration key "scheduler.instance" value');
    await change({ roles: ['event-hub'], config: { 'scheduler.instance': 'manual', 'user.x': '1' } });
    expect(state.member(replica.reader, 'n1')).toMatchObject({ roles: ['event-hub'], config: { 'scheduler.instance': 'manual' } });
  });

  it('are evacuated and restored once', async () => {
    await submit(state.setMemberState, { name: 'n1', state: 'evacuated' }, as);
    await expect(submit(state.setMemberState, { name: 'n1', state: 'evacuated' }, as)).rejects.toThrow('already evacuated');
    await submit(state.setMemberState, { name: 'n1', state: 'created' }, as);
    await expect(submit(state.setMemberState, { name: 'n1', state: 'created' }, as)).rejects.toThrow('already restored');
  });
});

describe('groups', () => {
  beforeEach(() => submit(state.enableCluster, n1, as));

  it('hold members, and cannot be removed while they do', async () => {
    await submit(state.createGroup, { name: 'g', description: 'd', members: ['n1'] }, as);
    expect(state.member(replica.reader, 'n1').groups).toEqual(['default', 'g']);
    await expect(submit(state.deleteGroup, { name: 'g' }, as)).rejects.toThrow('Only empty cluster groups can be removed');
    await submit(state.renameGroup, { name: 'g', newName: 'h' }, as);
    await submit(state.updateGroup, { name: 'h', put: { description: '', members: [] } }, as);
    await submit(state.deleteGroup, { name: 'h' }, as);
    expect(state.groups(replica.reader).map(({ name }) => name)).toEqual(['default']);
  });

  it('leave no member without any', async () => {
    await expect(submit(state.updateGroup, { name: 'default', put: { description: '', members: [] } }, as)).rejects.toThrow(
      'needs to belong to at least one group',
    );
    await expect(submit(state.deleteGroup, { name: 'default' }, as)).rejects.toMatchObject({ kind: 'forbidden' });
  });
});
