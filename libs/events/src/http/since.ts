import { fault } from '#kit';
import type { Position } from '../host/event-hub.js';

/** `m1:4b1c…:120,m2:…`: member, boot id and number, as every event has them (`location`, `boot`, `number`). @throws Fault invalid */
export function parseSince(text: string | null): Position[] {
  if (text === null || text === '') return [];
  return text.split(',').map((place) => {
    const match = /^([^:]+):([0-9a-f]{16}):(\d{1,15})$/.exec(place);
    if (!match) throw fault.invalid(`Invalid place "${place}": member:boot:number is wanted`);
    return { member: match[1]!, boot: match[2]!, number: Number(match[3]) };
  });
}
