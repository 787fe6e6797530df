/** The envelope of every answer of the REST API (but for files, metrics and websockets). */
export interface SyncEnvelope {
  type: 'sync';
  status: 'Success';
  status_code: 200;
  operation: '';
  error_code: 0;
  error: '';
  metadata: unknown;
}

export interface AsyncEnvelope {
  type: 'async';
  status: 'Operation created';
  status_code: 100;
  operation: string;
  error_code: 0;
  error: '';
  metadata: Operation;
}

export interface ErrorEnvelope {
  type: 'error';
  status: '';
  status_code: 0;
  operation: '';
  error_code: number;
  error: string;
  metadata: unknown;
}

export type OperationClass = 'task' | 'websocket' | 'token';

/** LXD's status codes; 200 and above are final. */
export const statusText = {
  100: 'Operation created',
  101: 'Started',
  102: 'Stopped',
  103: 'Running',
  104: 'Cancelling',
  105: 'Pending',
  106: 'Starting',
  107: 'Stopping',
  108: 'Aborting',
  109: 'Freezing',
  110: 'Frozen',
  111: 'Thawed',
  112: 'Error',
  113: 'Ready',
  200: 'Success',
  400: 'Failure',
  401: 'Cancelled',
} as const;
export type StatusCode = keyof typeof statusText;

export interface Operation {
  id: string;
  class: OperationClass;
  description: string;
  created_at: string;
  updated_at: string;
  status: string;
  status_code: StatusCode;
  /** Kind → URLs, null when none. */
  resources: Record<string, string[] | null> | null;
  metadata: Record<string, unknown> | null;
  may_cancel: boolean;
  err: string;
  /** Member name, `none` when standalone. */
  location: string;
}

export type EventType = 'logging' | 'operation' | 'lifecycle';

/** One frame of the events socket. `number` and `boot` are Muster's: a client resumes with ?since=. */
export interface Event {
  type: EventType;
  timestamp: string;
  metadata: unknown;
  location: string;
  /** Left out when the event belongs to no project. */
  project?: string;
  number?: number;
  boot?: string;
}

/** Muster's own frame, only for a listener that resumed with ?since=: events of a member that it will never get. */
export interface LostEvent {
  type: 'lost';
  timestamp: string;
  location: string;
  /** `to` is null when nothing is known of that boot: the member was started anew, or is new here. */
  metadata: { boot: string; from: number; to: number | null };
}
