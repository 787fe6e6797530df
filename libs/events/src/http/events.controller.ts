import { Controller, Inject } from '@nestjs/common';
import type { EventType } from '#api-contract';
import { type ApiRequest, type Caller, EVENTS, UpgradeRoute } from '#http-kit';
import { fault } from '#kit';
import { acceptWebSocket, checkHandshake, type Upgrade } from '#members';
import type { EventHub, ListenOptions } from '../host/event-hub.js';
import { pump } from './pump.js';
import { parseSince } from './since.js';

const allTypes: readonly EventType[] = ['logging', 'operation', 'lifecycle'];

@Controller()
export class EventsController {
  constructor(@Inject(EVENTS) private readonly hub: EventHub) {}

  /** ?type=, ?project= or ?all-projects=, and ?since= to go on where an earlier connection ended. */
  @UpgradeRoute('/1.0/events', { access: 'project' })
  connect(request: ApiRequest, upgrade: Upgrade): void {
    const options = listenOptions(request);
    checkHandshake(upgrade.request);
    // From here on nothing is missed, also what happens before the handshake is through: a client writes as soon as it is.
    const stream = this.hub.listen(options);
    upgrade.socket.once('close', () => stream.close());
    acceptWebSocket(upgrade, (socket) => void pump(stream, socket));
  }
}

function listenOptions({ caller, query, project, allProjects }: ApiRequest): ListenOptions {
  return {
    types: typesOf(query.get('type') ?? '', caller),
    project: allProjects ? undefined : project,
    visible: caller.admin ? undefined : (caller.projects ?? []),
    since: parseSince(query.get('since')),
  };
}

/** Log lines tell about everybody: they are for unrestricted callers. */
function typesOf(text: string, caller: Caller): EventType[] {
  if (text === '') return allTypes.filter((type) => caller.admin || type !== 'logging');
  const types = text.split(',');
  for (const type of types) if (!allTypes.includes(type as EventType)) throw fault.invalid(`"${type}" isn't a supported event type`);
  if (types.includes('logging') && !caller.admin) throw fault.forbidden('Forbidden');
  return types as EventType[];
}
