import { timingSafeEqual } from 'node:crypto';
import { Controller, Inject } from '@nestjs/common';
import { apiUrl, type Operation } from '#api-contract';
import { type ApiRequest, callContext, MEMBERS, type Reply, reply, Route, UpgradeRoute } from '#http-kit';
import { fault } from '#kit';
import { type Calls, type ListOperationsRequest, type Members, type OperationRecordMessage, OperationsAgentService, type Upgrade } from '#members';
import { hiddenSecret, withStatus } from '../model/index.js';
import { maySee } from './visible.js';

/** Of history in one answer, unless ?limit= says less or more. */
const historyRows = 1_000;
const historyRowsMax = 10_000;
/** How long another member's operations are waited for. */
const otherMs = 1_000;

@Controller()
export class OperationsController {
  readonly #agent: Calls<OperationsAgentService>;

  constructor(@Inject(MEMBERS) private readonly members: Members) {
    this.#agent = members.calls(OperationsAgentService);
  }

  @Route('GET', '/1.0/operations', { access: 'project' })
  async list(request: ApiRequest): Promise<Reply> {
    const { caller, allProjects } = request;
    const everything = allProjects && caller.admin;
    const projects = everything ? [] : allProjects ? [...(caller.projects ?? [])] : [request.project, ...(caller.admin ? [''] : [])];
    const wanted = { projects, allProjects: everything, history: request.query.get('history') === '1', limit: limitOf(request) };
    const operations = await this.#everywhere(request, wanted);
    const byStatus: Record<string, unknown[]> = {};
    for (const message of operations) {
      const operation = documentOf(message);
      (byStatus[operation.status.toLowerCase()] ??= []).push(request.recursion > 0 ? operation : apiUrl(['operations', operation.id]));
    }
    return reply.sync(byStatus);
  }

  /** Those of this member, and of every other that answers in time: a dead one costs its own, never the list. */
  async #everywhere(request: ApiRequest, wanted: ListOperationsRequest): Promise<OperationRecordMessage[]> {
    const context = callContext(request, true);
    const others = this.members.others().map((name) => this.members.calls(OperationsAgentService, name));
    const asked = others.map((agent) => agent.list(wanted, { ...context, timeoutMs: otherMs }));
    const [own, ...answers] = await Promise.allSettled([this.#agent.list(wanted, context), ...asked]);
    if (own.status === 'rejected') throw own.reason;
    return [own.value, ...answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []))].flatMap(({ operations }) => operations);
  }

  @Route('GET', '/1.0/operations/:id', { access: 'trusted' })
  async read(request: ApiRequest): Promise<Reply> {
    return reply.sync(await this.#visible(request));
  }

  @Route('DELETE', '/1.0/operations/:id', { access: 'trusted' })
  async remove(request: ApiRequest): Promise<Reply> {
    const operation = await this.#visible(request);
    if (request.dryRun) {
      if (operation.status_code !== 103) throw fault.invalid('Only running operations can be cancelled');
      if (!operation.may_cancel) throw fault.invalid("This operation can't be cancelled");
      const after = withStatus(operation, 401, new Date(operation.updated_at));
      return reply.dryRun([{ entity: 'operations', action: 'update', before: operation, after }], ['how far the work has come when it is told']);
    }
    await this.#agent.cancel({ id: operation.id }, callContext(request));
    return reply.empty();
  }

  /** The secret of the operation lets a guest wait, too: that is how two servers follow a migration. */
  @Route('GET', '/1.0/operations/:id/wait', { access: 'guest' })
  async wait(request: ApiRequest): Promise<Reply> {
    const secret = request.query.get('secret') ?? '';
    if (!request.caller.trusted && secret === '') throw fault.forbidden('not authorized');
    const timeoutMs = timeoutOf(request.query.get('timeout'));
    const operation = secret === '' ? await this.#visible(request) : await this.#bySecret(request, secret);
    const answer = await this.#agent.wait({ id: operation.id, timeoutMs }, callContext(request, true));
    return reply.sync(documentOf(answer));
  }

  /** Whoever has a socket's secret may have the socket. The operation's owner finishes the handshake. */
  @UpgradeRoute('/1.0/operations/:id/websocket', { access: 'guest' })
  async connect(request: ApiRequest, { request: handshake, socket, head }: Upgrade): Promise<void> {
    const secret = request.query.get('secret') ?? '';
    if (secret === '') throw fault.invalid('missing secret');
    const headers = Object.fromEntries(Object.entries(handshake.headers).filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
    const ticket = this.members.streams.offer(socket);
    await this.#agent.connect({ id: request.params.id!, secret, ticket, url: handshake.url ?? '', headers, head }, callContext(request));
  }

  /** What a caller may not see is not there. @throws Fault notFound */
  async #visible(request: ApiRequest): Promise<Operation> {
    const message = await this.#agent.get({ id: request.params.id! }, callContext(request, true));
    if (!maySee(request.caller, message.project)) throw fault.notFound('Operation not found');
    return documentOf(message);
  }

  async #bySecret(request: ApiRequest, secret: string): Promise<Operation> {
    const operation = documentOf(await this.#agent.get({ id: request.params.id! }, callContext(request, true)));
    const wanted = Buffer.from(String(operation.metadata?.['secret'] ?? ''));
    const given = Buffer.from(secret);
    // A finished one has given its secret up (history hides it): who was waiting has had its answer.
    if (secret === hiddenSecret || wanted.length !== given.length || !timingSafeEqual(wanted, given)) throw fault.forbidden('not authorized');
    return operation;
  }
}

const documentOf = (message: OperationRecordMessage): Operation => message.operation as Operation;

/** Seconds; -1 and absent: for ever. */
function timeoutOf(text: string | null): number | undefined {
  if (text === null || text === '') return undefined;
  if (!/^-?\d{1,9}$/.test(text)) throw fault.invalid(`Invalid timeout "${text}"`);
  const seconds = Number(text);
  return seconds < 0 ? undefined : Math.min(seconds * 1_000, 2 ** 31 - 1);
}

function limitOf(request: ApiRequest): number {
  const text = request.query.get('limit');
  if (text === null) return historyRows;
  if (!/^\d{1,9}$/.test(text)) throw fault.invalid(`Invalid limit "${text}"`);
  return Math.min(Number(text), historyRowsMax);
}
