import { beforeAll, describe, expect, it } from 'vitest';
import { operationId } from '#operations/model';
import { MemoryReplica } from '#testkit';
import { mayBelongElsewhere, partsOf, whose, type Asked, type Whose } from './whose.js';

let replica: MemoryReplica;
const operation = operationId(2, Date.now(), Buffer.alloc(16));

/** A table that answers what it holds: only the columns that are looked at. */
const tables = {
  subject: 'owners',
  entities: [],
  migrations: [
    {
      name: 'owners-1',
      sql: [
        'CREATE TABLE instances (id INTEGER PRIMARY KEY NOT NULL, project TEXT NOT NULL, name TEXT NOT NULL, member_id INTEGER NOT NULL)',
        "INSERT INTO instances VALUES (1, 'default', 'far', 2), (2, 'p', 'far', 3), (3, 'default', 'near', 1)",
        'CREATE TABLE images_members (fingerprint TEXT NOT NULL, member_id INTEGER NOT NULL, PRIMARY KEY (fingerprint, member_id))',
        "INSERT INTO images_members VALUES ('aa11', 2), ('bb22', 1), ('bb22', 2)",
        'CREATE TABLE storage_pools (id INTEGER PRIMARY KEY NOT NULL, name TEXT NOT NULL)',
        "INSERT INTO storage_pools VALUES (1, 'local')",
        'CREATE TABLE storage_volumes (id INTEGER PRIMARY KEY NOT NULL, pool_id INTEGER NOT NULL, member_id INTEGER NOT NULL, project TEXT NOT NULL, type TEXT NOT NULL, name TEXT NOT NULL)',
        "INSERT INTO storage_volumes VALUES (1, 1, 3, 'default', 'custom', 'far'), (2, 1, 1, 'default', 'custom', 'both'), (3, 1, 2, 'default', 'custom', 'both'), (4, 1, 0, 'default', 'custom', 'shared')",
      ],
    },
  ],
  commands: [],
};

beforeAll(async () => {
  replica = await MemoryReplica.open({ wings: [tables] });
});

const asked = (request: string): Asked => {
  const [method, url] = request.split(' ') as [string, string];
  const [path, search] = url.split('?', 2) as [string, string?];
  return { method, parts: partsOf(path)!, query: new URLSearchParams(search) };
};

describe('a request', () => {
  it.each<[string, Whose]>([
    ['GET /1.0/instances/far', 'here'],
    ['GET /1.0/instances/far/snapshots', 'here'],
    ['GET /1.0/instances/far?recursion=1', { id: 2 }],
    ['GET /1.0/instances/far?project=p&recursion=1', { id: 3 }],
    ['GET /1.0/containers/far/state', { id: 2 }],
    ['PUT /1.0/instances/far', { id: 2 }],
    ['PUT /1.0/instances/near/state', { id: 1 }],
    ['POST /1.0/instances/far/exec', { id: 2 }],
    ['GET /1.0/instances/nowhere/state', 'here'],
    ['POST /1.0/instances', { place: '' }],
    ['POST /1.0/instances?target=@fast', { place: '@fast' }],
    ['POST /1.0/instances?target=n2', { name: 'n2' }],
    [`GET /1.0/operations/${operation}/wait`, { id: 2 }],
    ['GET /1.0/operations/not-an-id', 'here'],
    ['GET /1.0/resources?target=n3', { name: 'n3' }],
    ['GET /1.0/images/aa/export', { id: 2 }],
    ['GET /1.0/images/bb22/export', 'here'],
    ['GET /1.0/storage-pools/local/volumes/custom/far', { id: 3 }],
    ['GET /1.0/storage-pools/local/volumes/custom/both', 'here'],
    ['GET /1.0/storage-pools/local/volumes/custom/shared', 'here'],
    ['GET /1.0/storage-pools/local/volumes/custom/both?target=n2', { name: 'n2' }],
    ['POST /1.0/cluster/members/n2/state', { name: 'n2' }],
  ])('%s', (request, expected) => {
    expect(whose(asked(request), replica.reader, 1)).toEqual(expected);
  });

  it.each(['GET /1.0', 'GET /1.0/instances', 'GET /1.0/profiles/x', 'GET /1.0/operations', 'GET /1.0/cluster/members', 'GET /1.0/images/aa'])(
    'is anybody’s, and asks nothing: %s',
    (request) => expect(mayBelongElsewhere(asked(request))).toBe(false),
  );

  it('that is no URL of the API is nobody’s', () => {
    expect([partsOf('/internal/ready'), partsOf('/1.0/instances/%zz')]).toEqual([undefined, undefined]);
    expect(partsOf('/1.0/instances/a%2Fb')).toEqual(['instances', 'a/b']);
  });
});
