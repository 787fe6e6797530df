import { Controller, Inject } from '@nestjs/common';
import { Body, MEMBERS, REPLICA, Route, callContext, reply, type ApiRequest, type Reply } from '#http-kit';
import { fault } from '#kit';
import { InstancesAgentService, type Members } from '#members';
import type { Replica } from '#replica';
import { instance, type InstanceRecord } from '../state/index.js';
import { isUp } from './documents.js';
import { named, operation } from './instances.controller.js';
import type { Tree } from './trees.js';

/** What runs inside while somebody looks: exec and console. */
export function sessionsController(tree: Tree): new (...args: never[]) => object {
  const at = `/1.0/${tree}/:name`;

  @Controller()
  class SessionsController {
    constructor(
      @Inject(REPLICA) private readonly replica: Replica,
      @Inject(MEMBERS) private readonly members: Members,
    ) {}

    @Route('POST', `${at}/exec`, { access: 'project' })
    async exec(request: ApiRequest): Promise<Reply> {
      const body = new Body(request.body);
      const exec = {
        command: body.strings('command'),
        'wait-for-websocket': body.boolean('wait-for-websocket'),
        interactive: body.boolean('interactive'),
        environment: body.map('environment'),
        width: body.integer('width'),
        height: body.integer('height'),
        'record-output': body.boolean('record-output'),
        user: body.integer('user'),
        group: body.integer('group'),
        cwd: body.string('cwd'),
      };
      if (exec.command.length === 0) throw fault.invalid('No command provided');
      if (exec.command.some((word) => word.includes('\0'))) throw fault.invalid('A command cannot hold a zero byte');
      await this.#up(request);
      if (request.dryRun) return reply.dryRun([], ['what the command does']);
      return operation(await this.members.calls(InstancesAgentService).execInstance({ instance: named(request), exec }, callContext(request)));
    }

    @Route('POST', `${at}/console`, { access: 'project' })
    async console(request: ApiRequest): Promise<Reply> {
      const body = new Body(request.body);
      const type = body.string('type') || 'console';
      const size = { width: body.integer('width'), height: body.integer('height') };
      const record = await this.#up(request);
      if (type !== 'console' && type !== 'vga') throw fault.invalid(`Unknown console type "${type}"`);
      if (type === 'vga' && record.type === 'container') throw fault.invalid('VGA console is only supported by virtual machines');
      if (request.dryRun) return reply.dryRun([], ['a session on the console']);
      return operation(await this.members.calls(InstancesAgentService).consoleInstance({ instance: named(request), ...size }, callContext(request)));
    }

    /** @throws Fault notFound; invalid unless it runs and is not frozen */
    async #up(request: ApiRequest): Promise<InstanceRecord> {
      await this.replica.barrier();
      const record = instance(this.replica.reader, request.project, request.params.name!);
      if (!isUp(record)) throw fault.invalid('Instance is not running');
      if (record.status === 110) throw fault.invalid('Instance is frozen');
      return record;
    }
  }
  return SessionsController;
}
