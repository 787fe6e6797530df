import { Controller, Inject } from '@nestjs/common';
import { apiUrl } from '#api-contract';
import { type ApiRequest, Body, list, type Reply, REPLICA, reply, Route, write } from '#http-kit';
import { fault } from '#kit';
import type { Replica } from '#replica';
import { warningStatus, warningStatusOf, warningTypeOf } from '../model/index.js';
import { deleteWarning, findWarning, setWarningStatus, type WarningRecord, warnings } from '../state/index.js';

/** A warning as the API shows it. */
interface WarningDocument {
  status: string;
  uuid: string;
  location: string;
  project: string;
  type: string;
  count: number;
  first_seen_at: string;
  last_seen_at: string;
  last_message: string;
  severity: string;
  entity_url: string;
}

@Controller()
export class WarningsController {
  constructor(@Inject(REPLICA) private readonly replica: Replica) {}

  /** All of them, unless ?project= is said. */
  @Route('GET', '/1.0/warnings', { access: 'admin' })
  async list(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const project = request.query.get('project') ? request.project : undefined;
    return list(request, warnings(this.replica.reader, project), { url: ({ uuid }) => apiUrl(['warnings', uuid]), document });
  }

  @Route('GET', '/1.0/warnings/:uuid', { access: 'admin' })
  async read(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const warning = findWarning(this.replica.reader, request.params.uuid!);
    if (!warning) throw fault.notFound('Warning not found');
    return reply.sync(document(warning));
  }

  @Route('PUT', '/1.0/warnings/:uuid', { access: 'admin' })
  replace(request: ApiRequest): Promise<Reply> {
    const status = new Body(request.body).string('status');
    if (!Object.hasOwn(warningStatus, status)) throw fault.invalid(`Invalid warning type "${status}"`);
    if (status !== 'acknowledged' && status !== 'new') throw fault.forbidden('Status may only be set to "acknowledge" or "new"');
    return write(this.replica, request, setWarningStatus, { uuid: request.params.uuid!, status }, () => reply.empty());
  }

  /** The status is all there is to change. */
  @Route('PATCH', '/1.0/warnings/:uuid', { access: 'admin' })
  patch(request: ApiRequest): Promise<Reply> {
    return this.replace(request);
  }

  @Route('DELETE', '/1.0/warnings/:uuid', { access: 'admin' })
  remove(request: ApiRequest): Promise<Reply> {
    return write(this.replica, request, deleteWarning, { uuid: request.params.uuid! }, () => reply.empty());
  }
}

function document(warning: WarningRecord): WarningDocument {
  const { name, severity } = warningTypeOf(warning.type);
  return {
    status: warningStatusOf(warning.status),
    uuid: warning.uuid,
    location: warning.member,
    project: warning.project,
    type: name,
    count: warning.count,
    first_seen_at: warning.firstSeen,
    last_seen_at: warning.lastSeen,
    last_message: warning.message,
    severity,
    entity_url: warning.entityUrl,
  };
}
