import { HttpException } from '@nestjs/common';
import { Fault, fault, type FaultKind } from '#kit';

/** HTTP status of each kind of fault; a fault with a status of its own (LXD's odd ones) keeps that. */
const statusOf: Record<FaultKind, number> = {
  invalid: 400,
  unauthenticated: 401,
  forbidden: 403,
  notFound: 404,
  conflict: 409,
  changed: 412,
  tooLarge: 413,
  unsupported: 501,
  unavailable: 503,
  notLeader: 503,
  internal: 500,
};

export const faultStatus = (it: Fault): number => it.status ?? statusOf[it.kind];

/** Whatever was thrown while a request was served, as a Fault: also what Nest and Fastify throw on their own. */
export function faultOf(thrown: unknown): Fault {
  if (thrown instanceof Fault) return thrown;
  if (thrown instanceof HttpException) return kindOfStatus(thrown.getStatus(), thrown.message);
  if (isFastifyError(thrown) && thrown.statusCode >= 400 && thrown.statusCode < 500) return kindOfStatus(thrown.statusCode, thrown.message);
  return Fault.from(thrown);
}

function kindOfStatus(status: number, message: string): Fault {
  if (status === 403) return fault.forbidden('not authorized');
  if (status === 404) return fault.notFound('not found');
  if (status === 413) return fault.tooLarge(message);
  return status < 500 ? fault.invalid(message, { status }) : fault.internal('Internal error', { detail: message });
}

const isFastifyError = (thrown: unknown): thrown is Error & { statusCode: number } =>
  thrown instanceof Error && typeof (thrown as { statusCode?: unknown }).statusCode === 'number';
