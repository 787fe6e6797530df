import { Controller, Inject } from '@nestjs/common';
import { type ApiRequest, type Reply, REPLICA, reply, Route, SERVER, submitOptions } from '#http-kit';
import { fault } from '#kit';
import type { ServerInfo } from '#members';
import type { HistoryEntry, Replica } from '#replica';

const entriesDefault = 100;
const entriesMax = 1_000;

/**
 * What was changed, by whom, and the way back. Every member keeps its own history, so the answer names the member (`X-Muster-Member`) and the span of
 * the log that it has (`X-Muster-History-Span: 12-340 without 100-120`).
 */
@Controller()
export class HistoryController {
  constructor(
    @Inject(REPLICA) private readonly replica: Replica,
    @Inject(SERVER) private readonly server: ServerInfo,
  ) {}

  /** ?from=INDEX: older than and including it; ?limit=. Without ?project= unrestricted callers see all, the others their own projects. */
  @Route('GET', '/1.0/history', { access: 'trusted' })
  async list(request: ApiRequest): Promise<Reply> {
    const { caller, query } = request;
    const from = numberOf(query.get('from'), 'from');
    const limit = Math.min(numberOf(query.get('limit'), 'limit') ?? entriesDefault, entriesMax);
    const projects = query.get('project') ? [request.project] : caller.admin ? [undefined] : [...(caller.projects ?? [])];
    if (!caller.admin && projects.some((project) => !caller.projects?.includes(project!))) throw fault.forbidden('not authorized');
    await this.replica.barrier();
    const answers = await Promise.all(projects.map((project) => this.replica.history({ from, limit, project })));
    const entries = answers.flatMap((answer) => answer.entries);
    const newestFirst = (a: HistoryEntry, b: HistoryEntry): number => b.index - a.index;
    const span = answers[0]?.span;
    const headers: Record<string, string> = { 'X-Muster-Member': this.server.memberName() };
    if (span) {
      const gaps = span.gaps.map(([first, last]) => `${first}-${last}`).join(', ');
      headers['X-Muster-History-Span'] = `${span.from}-${span.to}${gaps ? ` without ${gaps}` : ''}`;
    }
    return { kind: 'sync', metadata: entries.sort(newestFirst).slice(0, limit), headers };
  }

  @Route('POST', '/1.0/history/:index/revert', { access: 'admin' })
  async revert(request: ApiRequest): Promise<Reply> {
    const index = numberOf(request.params.index!, 'index')!;
    const { would, index: revertedAt } = await this.replica.revert(index, { ...submitOptions(request), dryRun: request.dryRun });
    return request.dryRun ? reply.dryRun(would ?? []) : reply.sync({ index: revertedAt ?? null });
  }

  /** The fate of a change whose answer was lost (503 with a submit id). */
  @Route('GET', '/1.0/submits/:id', { access: 'trusted' })
  async submit(request: ApiRequest): Promise<Reply> {
    const id = request.params.id!;
    if (!/^[0-9a-f]{32}$/.test(id)) throw fault.invalid('Invalid submit id');
    return reply.sync(await this.replica.submitted(id));
  }
}

function numberOf(text: string | null, name: string): number | undefined {
  if (text === null) return undefined;
  if (!/^\d{1,15}$/.test(text)) throw fault.invalid(`Invalid ${name} "${text}"`);
  return Number(text);
}
