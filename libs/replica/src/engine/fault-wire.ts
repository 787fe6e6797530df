import { Fault, type FaultKind, faultKinds } from '#kit';
import type { WireFault } from './ports.js';

/** A fault as plain data, for a MessagePort or another member. The cause stays behind; its words are in the detail. */
export function toWire(thrown: unknown): WireFault {
  const { kind, message, detail, status, metadata, retryAfterS, cause } = Fault.from(thrown);
  const why = detail ?? (cause instanceof Error ? (cause.stack ?? cause.message) : undefined);
  return { kind, message, detail: why, status, metadata, retryAfterS };
}

export function fromWire(wire: WireFault): Fault {
  const kind: FaultKind = faultKinds.find((known) => known === wire.kind) ?? 'internal';
  const { detail, status, metadata, retryAfterS } = wire;
  return new Fault(kind, wire.message, {
    ...(detail === undefined ? {} : { detail }),
    ...(status === undefined ? {} : { status }),
    ...(metadata === undefined ? {} : { metadata }),
    ...(retryAfterS === undefined ? {} : { retryAfterS }),
  });
}
