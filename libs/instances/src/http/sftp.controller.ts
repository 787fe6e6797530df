import { Controller, Inject } from '@nestjs/common';
import { callContext, MEMBERS, REPLICA, Route, UpgradeRoute, type ApiRequest, type Reply } from '#http-kit';
import { fault } from '#kit';
import { InstancesAgentService, type Members, type Upgrade } from '#members';
import type { Replica } from '#replica';
import { instance } from '../state/index.js';
import { named } from './instances.controller.js';
import type { Tree } from './trees.js';

/** An instance's files by SFTP: the connection leaves HTTP, and the instance's member speaks with the client from then on. */
export function sftpController(tree: Tree): new (...args: never[]) => object {
  const path = `/1.0/${tree}/:name/sftp`;

  @Controller()
  class SftpController {
    constructor(
      @Inject(REPLICA) private readonly replica: Replica,
      @Inject(MEMBERS) private readonly members: Members,
    ) {}

    @Route('GET', path, { access: 'project' })
    async read(): Promise<Reply> {
      throw fault.invalid('Missing or invalid upgrade header');
    }

    @UpgradeRoute(path, { access: 'project' })
    async connect(request: ApiRequest, { request: handshake, socket, head }: Upgrade): Promise<void> {
      if (handshake.method !== 'GET' || handshake.headers.upgrade !== 'sftp') throw fault.invalid('Missing or invalid upgrade header');
      await this.replica.barrier();
      instance(this.replica.reader, request.project, request.params.name!);
      if (head.length > 0) socket.unshift(head);
      const ticket = this.members.streams.offer(socket);
      await this.members.calls(InstancesAgentService).serveSftp({ instance: named(request), ticket }, callContext(request));
    }
  }
  return SftpController;
}
