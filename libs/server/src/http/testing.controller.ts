import { randomUUID } from 'node:crypto';
import { Controller, Inject, Optional } from '@nestjs/common';
import { Body, REPLICA, Route, reply, write, type ApiRequest, type Reply } from '#http-kit';
import { fault } from '#kit';
import { findProject } from '#projects/state';
import type { Replica } from '#replica';
import { upsertWarning } from '#warnings/state';
import { SQL_BRIDGE, noBridge, type SqlBridge } from './global-sql.js';

/** LXD's codes of entities end here. */
const entityTypeMax = 17;
/** Code and id of a warning that is about no entity. */
const none = -1;

/** What LXD's test suites ask of a daemon, on the unix socket only. */
@Controller()
export class TestingController {
  constructor(
    @Inject(REPLICA) private readonly replica: Replica,
    @Optional() @Inject(SQL_BRIDGE) private readonly bridge: SqlBridge = noBridge,
  ) {}

  @Route('POST', '/internal/testing/warnings', { access: 'local' })
  async warn(request: ApiRequest): Promise<Reply> {
    const body = new Body(request.body);
    const [code, id] = [body.integer('entity_type_code', none), body.integer('entity_id', none)];
    if (code !== none && (code < 0 || code > entityTypeMax)) throw fault.invalid('Invalid entity type', { status: 500 });
    await this.replica.barrier();
    const project = body.string('project');
    if (project !== '' && !findProject(this.replica.reader, project))
      throw fault.invalid('Failed to create warning: Project not found', { status: 500 });
    const entityUrl = code === none || id < 0 ? '' : this.bridge.entityUrl?.(this.replica.reader, code, id);
    if (entityUrl === undefined) throw fault.invalid('Failed to create warning: the entity does not exist', { status: 500 });
    const warning = { member: body.string('location'), project, entityUrl, type: body.integer('type_code') };
    return write(this.replica, request, upsertWarning, { ...warning, uuid: randomUUID(), message: body.string('message') }, () => reply.empty());
  }
}
