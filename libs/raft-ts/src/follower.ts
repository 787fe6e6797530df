/** What a follower does with a leader's messages (thesis §3.5). The caller has checked term and sender. */
import type { Core } from './core.js';
import type { Message } from './types.js';

type Of<T extends Message['type']> = Extract<Message, { type: T }>;

export function onAppend(core: Core, message: Of<'append'>): void {
  const { log, rules } = core;
  const { previous, entries, round, from } = message;
  if (rules.isOldNews(previous.index, log.commit)) return core.send(from, { type: 'append-ack', index: log.commit, round });
  if (log.term(previous.index) !== previous.term) {
    const hint = log.agreesBefore(previous);
    return core.send(from, { type: 'append-refused', index: previous.index, hint, round });
  }
  const at = rules.firstNew(entries, (index) => log.term(index));
  if (at < entries.length) {
    if (entries[at]!.index <= log.lastIndex) core.truncateFrom(entries[at]!.index);
    for (let i = at; i < entries.length; i++) core.append(entries[i]!);
  }
  const index = previous.index + entries.length;
  log.commitTo(Math.min(message.commit, index));
  core.send(from, { type: 'append-ack', index, round });
}

export function onHeartbeat(core: Core, message: Of<'heartbeat'>): void {
  core.log.commitTo(Math.min(message.commit, core.log.lastIndex));
  core.send(message.from, { type: 'heartbeat-ack', round: message.round });
}
