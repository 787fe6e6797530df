import { beforeEach, describe, expect, it } from 'vitest';
import { etagOf } from '#api-contract';
import { profilesState } from '#profiles/state';
import { createProject, projectsState, targetOf, usedBy } from '#projects/state';
import { internalIdentity as identity } from '#replica/state';
import { MemoryReplica } from '#testkit';
import * as state from './index.js';

let replica: MemoryReplica;
const as = { identity };
const submit: MemoryReplica['submit'] = (...args) => replica.submit(...args);
const [one, other] = ['a1'.padEnd(64, '0'), 'a2'.padEnd(64, '0')] as [string, string];

const given = (fingerprint: string, project = 'default'): state.NewImage => ({
  project,
  fingerprint,
  filename: 'bb.tar.gz',
  size: 7,
  public: false,
  autoUpdate: false,
  architecture: 'x86_64',
  type: 'container',
  createdAt: '2023-11-14T22:13:20.000Z',
  expiresAt: '',
  properties: { os: 'busybox' },
  aliases: [],
  memberId: 1,
});

beforeEach(async () => {
  replica = await MemoryReplica.open({ wings: [projectsState, profilesState, state.imagesState] });
  await submit(state.createImage, { ...given(one), aliases: [{ name: 'bb', description: '' }] }, as);
});

describe('images', () => {
  it('are found by a unique beginning of their fingerprint, and shown as LXD shows them', async () => {
    await submit(state.createImage, given(other), as);
    expect(state.imageDocument(replica.reader, state.image(replica.reader, 'default', 'a1'))).toMatchObject({
      aliases: [{ name: 'bb', description: '' }],
      profiles: ['default'],
      expires_at: '1970-01-01T00:00:00Z',
      last_used_at: '1970-01-01T00:00:00Z',
      cached: false,
    });
    expect(() => state.image(replica.reader, 'default', 'a')).toThrow('More than one image matches');
    for (const prefix of ['b', '%', '', 'A1']) expect(() => state.image(replica.reader, 'default', prefix)).toThrow('Image not found');
  });

  it('are refused twice in a project, and shared between projects', async () => {
    await expect(submit(state.createImage, given(one), as)).rejects.toThrow('Image with same fingerprint already exists');
    await submit(createProject, { name: 'p', description: '', config: { 'features.images': 'true' } }, as);
    await submit(state.createImage, given(one, 'p'), as);
    expect(usedBy(replica.reader, targetOf('image', one))).toEqual([`/1.0/images/${one}`, `/1.0/images/${one}?project=p`]);
    expect((await submit(state.deleteImage, { project: 'p', fingerprint: one }, as)).result).toEqual({ last: false });
    expect((await submit(state.deleteImage, { project: 'default', fingerprint: one }, as)).result).toEqual({ last: true });
    expect(replica.reader.all('SELECT * FROM images_aliases')).toEqual([]);
  });

  it('stay what is cached when they are changed, and so go when nobody uses them', async () => {
    await submit(state.createImage, { ...given(other), cached: true }, as);
    const put = { public: true, autoUpdate: false, properties: {} };
    await submit(state.updateImage, { project: 'default', fingerprint: other, put }, as);
    await submit(state.setImageUsed, { fingerprint: other, at: '2020-01-01 00:00:00+00:00' }, as);
    expect(state.unusedCachedImages(replica.reader, new Date('2020-01-02')).map(({ fingerprint }) => fingerprint)).toEqual([other]);
  });

  it('make no half of themselves when an alias is taken', async () => {
    const taken = {
      ...given(other),
      aliases: [
        { name: 'new', description: '' },
        { name: 'bb', description: '' },
      ],
    };
    await expect(submit(state.createImage, taken, as)).rejects.toThrow('Alias already exists: bb');
    expect(state.images(replica.reader, 'default')).toHaveLength(1);
    expect(state.aliases(replica.reader, 'default').map(({ name }) => name)).toEqual(['bb']);
  });

  it('are changed by only one of two writers with the same ETag', async () => {
    const ifMatch = etagOf(state.imageEtag(state.image(replica.reader, 'default', one)));
    const change = (value: string) =>
      submit(
        state.updateImage,
        { project: 'default', fingerprint: one, put: { public: true, autoUpdate: false, properties: { value } }, ifMatch },
        as,
      );
    const outcomes = await Promise.allSettled([change('1'), change('2')]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    expect(state.images(replica.reader, 'default', { publicOnly: true })).toHaveLength(1);
  });

  it('hand their aliases to what replaces them', async () => {
    await submit(state.createImage, given(other), as);
    await submit(state.replaceImage, { project: 'default', fingerprint: one, by: other }, as);
    expect(state.alias(replica.reader, 'default', 'bb').target).toBe(other);
    expect(state.images(replica.reader, 'default')).toHaveLength(1);
  });

  it('want profiles that exist', async () => {
    const put = { public: false, autoUpdate: false, properties: {}, profiles: ['nope'] };
    await expect(submit(state.updateImage, { project: 'default', fingerprint: one, put }, as)).rejects.toThrow("Profile 'nope' doesn't exist");
  });
});

describe('aliases', () => {
  it('are made, moved, renamed, refused and deleted', async () => {
    await submit(state.createImage, given(other), as);
    const create = { project: 'default', name: 'bb', description: '', target: one };
    await expect(submit(state.createAlias, create, as)).rejects.toMatchObject({ kind: 'conflict', message: 'Alias "bb" already exists' });
    await expect(submit(state.createAlias, { ...create, name: 'x', target: 'ffff' }, as)).rejects.toThrow('Image not found');
    await submit(state.updateAlias, { ...create, description: 'd', target: 'a2' }, as);
    expect(state.alias(replica.reader, 'default', 'bb')).toMatchObject({ target: other, description: 'd' });
    await submit(state.renameAlias, { project: 'default', name: 'bb', newName: 'box/latest' }, as);
    await submit(state.deleteAlias, { project: 'default', name: 'box/latest' }, as);
    expect(() => state.alias(replica.reader, 'default', 'bb')).toThrow('Image alias not found');
  });
});
