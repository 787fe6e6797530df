import { Controller, Inject } from '@nestjs/common';
import { Body, callContext, EVENTS, MEMBERS, reply, Route, UpgradeRoute, type ApiRequest, type Reply } from '#http-kit';
import { fault } from '#kit';
import { acceptWebSocket, checkHandshake, ClusterAgentService, type Members, type Upgrade } from '#members';
import type { WebSocket } from 'ws';
import { beatMs, linkPath, type LinkEvent, type LinkFrame } from '../model/index.js';

/** The part of the hub (token EVENTS) that the link needs; #events/host says what it promises. */
interface OwnEvents {
  readonly boot: string;
  listen(options: { types: ('operation' | 'lifecycle')[] }): AsyncIterable<LinkEvent> & { close(): void };
}

const beat = JSON.stringify({ beat: 1 } satisfies LinkFrame);
/** A member that takes nothing is cut, and dials again. */
const backlogBytesMax = 8 * 2 ** 20;

/** What members say to each other's gateways. */
@Controller()
export class ClusterInternalController {
  constructor(
    @Inject(MEMBERS) private readonly members: Members,
    @Inject(EVENTS) private readonly events: OwnEvents,
  ) {}

  /** For a server that is no member yet: a token, or the trust password, is what lets it in. */
  @Route('POST', '/internal/cluster/admit', { access: 'guest' })
  async admit(request: ApiRequest): Promise<Reply> {
    const body = new Body(request.body);
    const asked = {
      serverName: body.string('server_name'),
      serverAddress: body.string('server_address'),
      architecture: body.string('architecture'),
      password: body.string('password'),
      from: request.caller.identity.address,
      now: body.string('now'),
    };
    const { secretsKey, ...rest } = await this.members.calls(ClusterAgentService).admit(asked, callContext(request));
    return reply.sync({ ...rest, secrets_key: secretsKey.toString('base64') });
  }

  /** A join that failed half way: the joiner has the cluster's certificate already, and takes itself back. */
  @Route('POST', '/internal/cluster/withdraw', { access: 'admin' })
  async withdraw(request: ApiRequest): Promise<Reply> {
    onlyMembers(request);
    const id = new Body(request.body).integer('id');
    await this.members.calls(ClusterAgentService).remove({ name: '', force: true, id }, callContext(request));
    return reply.empty();
  }

  /** This member's own events and its beat, for one other member. */
  @UpgradeRoute(linkPath, { access: 'admin' })
  link(request: ApiRequest, upgrade: Upgrade): void {
    onlyMembers(request);
    checkHandshake(upgrade.request);
    const stream = this.events.listen({ types: ['operation', 'lifecycle'] });
    upgrade.socket.once('close', () => stream.close());
    acceptWebSocket(upgrade, (socket) => {
      const beating = setInterval(() => socket.send(beat), beatMs);
      socket.on('close', () => clearInterval(beating));
      void this.#tell(stream, socket);
    });
  }

  async #tell(stream: AsyncIterable<LinkEvent>, socket: WebSocket): Promise<void> {
    socket.send(beat);
    for await (const { type, project, boot, number, json } of stream) {
      if (socket.readyState !== socket.OPEN) break;
      // What came from other members they tell themselves.
      if (boot === this.events.boot)
        socket.send(JSON.stringify({ event: { type, ...(project === undefined ? {} : { project }), boot, number, json } } satisfies LinkFrame));
      if (socket.bufferedAmount > backlogBytesMax) break;
    }
    socket.terminate();
  }
}

function onlyMembers({ caller }: ApiRequest): void {
  if (caller.identity.protocol !== 'cluster') throw fault.forbidden('not authorized');
}
