import { Controller, Inject, Optional } from '@nestjs/common';
import { isTrue } from '#config-keys';
import { Body, MEMBERS, REPLICA, Route, SERVER, callContext, reply, type ApiRequest, type Reply } from '#http-kit';
import { fault } from '#kit';
import { ServerAgentService, type Members, type ServerInfo } from '#members';
import type { Replica } from '#replica';
import { dump, statementsOf } from '../state/index.js';
import { SQL_BRIDGE, globalSql, noBridge, type SqlBridge } from './global-sql.js';

/** What LXD's own `lxd` command asks of its daemon, on the unix socket only. */
@Controller()
export class InternalController {
  constructor(
    @Inject(REPLICA) private readonly replica: Replica,
    @Inject(MEMBERS) private readonly members: Members,
    @Inject(SERVER) private readonly server: ServerInfo,
    @Optional() @Inject(SQL_BRIDGE) private readonly bridge: SqlBridge = noBridge,
  ) {}

  /** Only reached once the daemon is up (while it starts, the door answers); answers when instances that start by themselves have been started. */
  @Route('GET', '/internal/ready', { access: 'local' })
  async ready(): Promise<Reply> {
    await this.server.autostarted?.();
    return reply.empty();
  }

  /** Answers when all is stopped: who asked may look at the directory at once. */
  @Route('PUT', '/internal/shutdown', { access: 'local', always: true })
  async shutdown(request: ApiRequest): Promise<Reply> {
    await this.server.shutdown({ force: isTrue(request.query.get('force') ?? '') });
    return reply.empty();
  }

  @Route('GET', '/internal/gc', { access: 'local' })
  collect(): Reply {
    // There only where node runs with --expose-gc.
    (globalThis as { gc?: () => void }).gc?.();
    return reply.empty();
  }

  @Route('GET', '/internal/sql', { access: 'local' })
  async dump(request: ApiRequest): Promise<Reply> {
    const schemaOnly = isTrue(request.query.get('schema') ?? '');
    if (databaseOf(request.query.get('database') ?? '') === 'global') {
      await this.replica.barrier();
      return reply.sync({ text: dump(this.replica.reader, schemaOnly) });
    }
    const { dump: text } = await this.members.calls(ServerAgentService).localSql({ query: '', schemaOnly }, callContext(request));
    return reply.sync({ text });
  }

  @Route('POST', '/internal/sql', { access: 'local' })
  async query(request: ApiRequest): Promise<Reply> {
    const body = new Body(request.body);
    const query = body.string('query').trim();
    if (query === '') throw fault.invalid('No query provided');
    const database = databaseOf(body.string('database'));
    // A nudge to write everything out, which is always done here.
    if (query === '.sync') return reply.sync({ Results: null });
    const results: unknown[] = [];
    for (const statement of statementsOf(query)) {
      results.push(
        database === 'global'
          ? await globalSql(this.replica, request, statement, this.bridge)
          : (await this.members.calls(ServerAgentService).localSql({ query: statement, schemaOnly: false }, callContext(request))).result,
      );
    }
    return reply.sync({ Results: results });
  }
}

function databaseOf(name: string): 'local' | 'global' {
  if (name !== 'local' && name !== 'global') throw fault.invalid('Invalid database');
  return name;
}
