import { Controller, Inject } from '@nestjs/common';
import { MEMBERS, Route, callContext, reply, type ApiRequest, type Reply } from '#http-kit';
import { ServerAgentService, type Members } from '#members';

@Controller()
export class ResourcesController {
  constructor(@Inject(MEMBERS) private readonly members: Members) {}

  @Route('GET', '/1.0/resources', { access: 'admin' })
  async read(request: ApiRequest): Promise<Reply> {
    const { resources } = await this.members.calls(ServerAgentService).resources({}, callContext(request, true));
    return reply.sync(resources);
  }

  @Route('GET', '/1.0/metrics', { access: 'metrics' })
  async metrics(request: ApiRequest): Promise<Reply> {
    const { caller } = request;
    const restricted = caller.trusted && !caller.admin;
    const projects = restricted ? [...(caller.projects ?? [])] : request.query.get('project') ? [request.project] : [];
    const { text } = await this.members.calls(ServerAgentService).metrics({ projects, restricted }, callContext(request, true));
    return reply.raw(text, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' });
  }
}
