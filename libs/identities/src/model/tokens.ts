/** What a client gets to paste: base64 of this, in this order. */
export interface AddToken {
  client_name: string;
  fingerprint: string;
  addresses: string[];
  secret: string;
  expires_at: string;
}

/** A new member's token. Its document has `server_name` where a client's has `client_name`. */
export interface JoinToken {
  server_name: string;
  fingerprint: string;
  addresses: string[];
  secret: string;
  expires_at: string;
}

export const encodeToken = (token: AddToken | JoinToken): string => Buffer.from(JSON.stringify(token)).toString('base64');

/** A password that is really a token; undefined when it is none. */
export function decodeToken(text: string): { kind: 'add'; token: AddToken } | { kind: 'join'; token: JoinToken } | undefined {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(text, 'base64').toString('utf8'));
  } catch {
    return undefined;
  }
  if (!isToken(value)) return undefined;
  if (typeof value.server_name === 'string' && value.server_name !== '') return { kind: 'join', token: value as unknown as JoinToken };
  return typeof value.client_name === 'string' ? { kind: 'add', token: value as unknown as AddToken } : undefined;
}

function isToken(value: unknown): value is Record<string, unknown> {
  if (value === null || typeof value !== 'object') return false;
  const { addresses, secret, fingerprint } = value as Record<string, unknown>;
  return (
    Array.isArray(addresses) &&
    addresses.length > 0 &&
    typeof secret === 'string' &&
    secret !== '' &&
    typeof fingerprint === 'string' &&
    fingerprint !== ''
  );
}
