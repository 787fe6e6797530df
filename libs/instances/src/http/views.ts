import { Inject, Injectable, Optional, type OnModuleDestroy } from '@nestjs/common';
import type { InstanceState } from '#api-contract';
import { memberName, members as clusterMembers } from '#cluster/state';
import { MEMBERS, REPLICA, SERVER, callContext, list, mayTouch, parseFilter, reply, type ApiRequest, type Reply } from '#http-kit';
import { InstancesAgentService, type Members, type ServerInfo } from '#members';
import type { Replica } from '#replica';
import { apiUrl } from '#api-contract';
import { instanceNames, instanceById, snapshots, type InstanceRecord } from '../state/index.js';
import { isUp, snapshotDocument, stateAtRest } from './documents.js';
import { Fragments } from './fragments.js';
import { INSTANCE_BACKUPS, type InstanceBackups } from './ports.js';
import { typeOfTree, type Tree } from './trees.js';

/** How long live state is waited for: what does not answer costs its rows, never the list. */
const stateTimeoutMs = 1_000;

/** How instances are shown: in lists, alone, with or without what only their member knows. */
@Injectable()
export class InstanceViews implements OnModuleDestroy {
  readonly #fragments: Fragments;

  constructor(
    @Inject(REPLICA) private readonly replica: Replica,
    @Inject(MEMBERS) private readonly members: Members,
    @Inject(SERVER) private readonly server: ServerInfo,
    @Optional() @Inject(INSTANCE_BACKUPS) private readonly backups?: InstanceBackups,
  ) {
    this.#fragments = new Fragments(replica, (id) => memberName(replica.reader, id));
  }

  onModuleDestroy(): void {
    this.#fragments[Symbol.dispose]();
  }

  async list(request: ApiRequest, tree: Tree): Promise<Reply> {
    await this.replica.barrier();
    const filter = { ...(request.allProjects ? {} : { projects: [request.project] }), type: typeOfTree[tree] };
    const names = instanceNames(this.replica.reader, filter).filter(({ project }) => mayTouch(request.caller, project));
    const url = ({ project, name }: { project: string; name: string }): string => apiUrl([tree, name], project);
    if (request.filter === '' && request.recursion === 0) return list(request, names, { url, document: () => ({}) });
    const rendered = this.#fragments.of(names.map(({ id }) => id));
    const matches = request.filter === '' ? undefined : parseFilter(request.filter);
    const away = this.#away();
    const shown = (memberId: number, json: string): string => (away.has(memberId) ? withStatusError(json) : json);
    const rows = names
      .map((name, at) => ({ ...name, json: shown(name.memberId, rendered[at]!) }))
      .filter(({ json }) => !matches || matches(JSON.parse(json) as object));
    if (request.recursion === 0) return reply.sync(rows.map(url));
    if (request.recursion === 1) return reply.rendered(`[${rows.map(({ json }) => json).join(',')}]`);
    const parts = await this.#parts(
      request,
      rows.map(({ id }) => id),
    );
    return reply.rendered(`[${rows.map(({ id, json }) => withParts(json, parts.get(id))).join(',')}]`);
  }

  /** One, as `?recursion=1` wants it: with backups, state and snapshots. */
  async full(request: ApiRequest, record: InstanceRecord): Promise<object> {
    const [json] = this.#fragments.of([record.id]);
    return JSON.parse(withParts(json!, (await this.#parts(request, [record.id])).get(record.id))) as object;
  }

  plain(record: InstanceRecord): object {
    const [json] = this.#fragments.of([record.id]);
    return JSON.parse(this.#away().has(record.memberId) ? withStatusError(json!) : json!) as object;
  }

  /** Members that are believed gone: nobody knows what has become of what they run. */
  #away(): ReadonlySet<number> {
    const all = clusterMembers(this.replica.reader);
    if (all.length === 0) return new Set();
    const alive = new Set([...this.members.others(), this.server.memberName()]);
    return new Set(all.filter(({ name }) => !alive.has(name)).map(({ id }) => id));
  }

  /**
   * Live state by id, asked of all owners at once. What does not run is not asked for; what does not answer in time is missing: a member that is believed
   * gone is not even asked.
   */
  async states(request: ApiRequest, rows: readonly { id: number; memberId: number }[]): Promise<Record<number, InstanceState>> {
    const byMember = Map.groupBy(rows, ({ memberId }) => memberId);
    const alive = new Set(this.members.others());
    const asked = [...byMember].map(async ([memberId, mine]) => {
      const name = memberId === this.server.memberId ? undefined : memberName(this.replica.reader, memberId);
      if (name !== undefined && !alive.has(name)) return {};
      const context = { ...callContext(request, true), timeoutMs: stateTimeoutMs };
      const { states } = await this.members.calls(InstancesAgentService, name).instanceStates({ ids: mine.map(({ id }) => id) }, context);
      return states as Record<number, InstanceState>;
    });
    const answers = await Promise.allSettled(asked);
    return Object.assign({}, ...answers.map((answer) => (answer.status === 'fulfilled' ? answer.value : {}))) as Record<number, InstanceState>;
  }

  async #parts(request: ApiRequest, ids: readonly number[]): Promise<Map<number, Parts>> {
    const { reader } = this.replica;
    const up =
      ids.length === 0
        ? []
        : reader.all<{ id: number; memberId: number }>(
            'SELECT id, member_id AS memberId FROM instances WHERE status NOT IN (102, 112) AND id IN (SELECT value FROM json_each(?))',
            JSON.stringify(ids),
          );
    const withSnapshots = new Set(
      ids.length === 0 ? [] : reader.all<{ id: number }>('SELECT DISTINCT instance_id AS id FROM instance_snapshots').map(({ id }) => id),
    );
    const states = await this.states(request, up);
    const backups = this.backups?.documents(reader, ids);
    const result = new Map<number, Parts>();
    for (const id of ids) {
      const needed = withSnapshots.has(id) || states[id] === undefined ? instanceById(reader, id) : undefined;
      const state = states[id] ?? (needed && isUp(needed) ? { ...stateAtRest({ status: 112 }) } : stateAtRest({ status: needed?.status ?? 102 }));
      result.set(id, {
        state: needed && !isUp(needed) ? restJson(needed.status) : JSON.stringify(state),
        snapshots:
          withSnapshots.has(id) && needed ? JSON.stringify(snapshots(reader, id).map((snapshot) => snapshotDocument(snapshot, needed))) : 'null',
        backups: JSON.stringify(backups?.get(id) ?? null),
      });
    }
    return result;
  }
}

/** JSON of each. */
interface Parts {
  state: string;
  snapshots: string;
  backups: string;
}

const restJson = (status: InstanceRecord['status']): string => JSON.stringify(stateAtRest({ status }));

/** The document says its status once, and nothing in its maps looks like that: their quotes are escaped, and their values are strings. */
const withStatusError = (json: string): string => json.replace(/"status":"[^"]*","status_code":\d+/, '"status":"Error","status_code":112');

const withParts = (json: string, parts: Parts | undefined): string =>
  parts ? `${json.slice(0, -1)},"backups":${parts.backups},"state":${parts.state},"snapshots":${parts.snapshots}}` : json;
