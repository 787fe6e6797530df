import { beforeEach, describe, expect, it } from 'vitest';
import { etagOf } from '#api-contract';
import { createProject, deleteProject, projectsState, targetOf, updateProject, usedBy } from '#projects/state';
import { internalIdentity as identity } from '#replica/state';
import { MemoryReplica } from '#testkit';
import { createProfile, deleteProfile, profile, profileEtag, profiles, profilesState, renameProfile, updateProfile } from './index.js';

let replica: MemoryReplica;
const as = { identity };
const empty = { description: '', config: {}, devices: {} };
const submit: MemoryReplica['submit'] = (...args) => replica.submit(...args);

beforeEach(async () => {
  replica = await MemoryReplica.open({ wings: [projectsState, profilesState] });
});

describe('profiles', () => {
  it('starts with the default profile of the default project', () => {
    expect(profiles(replica.reader, 'default').map(({ name }) => name)).toEqual(['default']);
  });

  it('refuses a second one of the same name with the status that LXD has', async () => {
    await submit(createProfile, { project: 'default', name: 'web', ...empty }, as);
    await expect(submit(createProfile, { project: 'default', name: 'web', ...empty }, as)).rejects.toMatchObject({
      status: 500,
      message: 'Error inserting "web" into database: The profile already exists',
    });
  });

  it('lets only one of two writers with the same ETag win', async () => {
    const ifMatch = etagOf(profileEtag(profile(replica.reader, 'default', 'default')));
    const change = (description: string) =>
      submit(updateProfile, { project: 'default', name: 'default', put: { ...empty, description }, ifMatch }, as);
    const outcomes = await Promise.allSettled([change('one'), change('two')]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    expect(profile(replica.reader, 'default', 'default').description).toBe('one');
  });

  it('keeps reference rows for the pools and networks that its devices name', async () => {
    const devices = { root: { type: 'disk', path: '/', pool: 'local' }, eth0: { type: 'nic', network: 'lxdbr0' } };
    await submit(createProfile, { project: 'default', name: 'web', ...empty, devices }, as);
    expect(usedBy(replica.reader, targetOf('pool', 'local'))).toEqual(['/1.0/profiles/web']);
    await submit(renameProfile, { project: 'default', name: 'web', newName: 'www' }, as);
    expect(usedBy(replica.reader, targetOf('network', 'default', 'lxdbr0'))).toEqual(['/1.0/profiles/www']);
    await submit(deleteProfile, { project: 'default', name: 'www' }, as);
    expect(usedBy(replica.reader, targetOf('pool', 'local'))).toEqual([]);
  });

  it('drops keys whose value is empty, as clients unset them', async () => {
    await submit(createProfile, { project: 'default', name: 'web', ...empty, config: { 'user.a': '', 'user.b': 'x' } }, as);
    expect(profile(replica.reader, 'default', 'web').config).toEqual({ 'user.b': 'x' });
    const put = { ...empty, config: { 'user.b': '' }, devices: { eth0: { type: 'nic', mtu: '' } } };
    await submit(updateProfile, { project: 'default', name: 'web', put }, as);
    expect(profile(replica.reader, 'default', 'web')).toMatchObject({ config: {}, devices: { eth0: { type: 'nic' } } });
    expect(profile(replica.reader, 'default', 'web').devices.eth0).not.toHaveProperty('mtu');
  });

  it('says what a dry-run would do and does nothing', async () => {
    const { would } = await replica.dryRun(createProfile, { project: 'default', name: 'web', ...empty }, as);
    expect(would.find(({ entity }) => entity === 'profiles')).toMatchObject({ action: 'create', after: { name: 'web' } });
    expect(profiles(replica.reader, 'default')).toHaveLength(1);
  });
});

describe('projects', () => {
  const create = (name: string, config: Record<string, string>) => submit(createProject, { name, description: '', config }, as);

  it('have a default profile of their own exactly while they have features.profiles', async () => {
    await create('p', { 'features.profiles': 'true' });
    expect(profile(replica.reader, 'p', 'default').description).toBe('Default LXD profile for project p');
    await submit(updateProject, { name: 'p', put: { description: '', config: {} } }, as);
    expect(profiles(replica.reader, 'p')).toEqual([]);
    await submit(deleteProject, { name: 'p' }, as);
  });

  it('cannot be removed while they hold something', async () => {
    await create('p', { 'features.profiles': 'true' });
    await submit(createProfile, { project: 'p', name: 'web', ...empty }, as);
    await expect(submit(deleteProject, { name: 'p' }, as)).rejects.toThrow('Only empty projects can be removed');
    await expect(submit(updateProject, { name: 'p', put: { description: '', config: {} } }, as)).rejects.toThrow(
      'cannot be disabled on non-empty projects',
    );
  });

  it('refuse bad names and unknown keys', async () => {
    for (const name of ['', 'a/b', 'a b', '..', '*']) await expect(create(name, {})).rejects.toMatchObject({ kind: 'invalid' });
    await expect(create('p', { 'nope.key': '1' })).rejects.toThrow('Unknown configuration key: nope.key');
  });
});
