import type { WatchPort } from '#replica';
import type { Identity, Lifecycle } from '#replica/state';
import type { EventHub } from './event-hub.js';

/** Publishes a lifecycle event as LXD words it. What the server does by itself has no requestor. */
export function publishLifecycle(hub: EventHub, lifecycle: Lifecycle, identity?: Identity): void {
  hub.publish({
    type: 'lifecycle',
    project: lifecycle.project,
    metadata: {
      action: lifecycle.action,
      source: lifecycle.source,
      ...(lifecycle.context ? { context: lifecycle.context } : {}),
      ...(identity && identity.protocol !== 'internal'
        ? { requestor: { username: identity.username, protocol: identity.protocol, address: identity.address } }
        : {}),
    },
  });
}

/** Lifecycle events are part of the log: the member that submitted a command publishes its events when it applies it. */
export function publishApplied(replica: WatchPort, hub: EventHub): Disposable {
  return replica.watch((applied) => {
    for (const command of applied.commands) {
      if (command.mine) for (const lifecycle of command.lifecycle) publishLifecycle(hub, lifecycle, command.identity);
    }
  });
}
