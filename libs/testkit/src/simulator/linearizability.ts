/**
 * Is a history of concurrent operations one that a single register could have given, each operation taking effect at one moment between its call
 * and its return? Wing and Gong's search, with Lowe's cache of what has been tried (set of operations done, state of the register), one register
 * at a time: operations on different keys cannot constrain each other (Herlihy and Wing, locality).
 *
 * The search goes through calls and returns in order of time. At a call it tries to let the operation take effect there; at the return of one that
 * has not, every order tried so far was wrong, and the last choice is undone. An operation whose outcome nobody learned has no return: it may
 * take effect at any later moment, or never.
 */
export type RegisterAction =
  | { readonly kind: 'read'; readonly value: number }
  | { readonly kind: 'write'; readonly value: number }
  /** `done`: it found `expected` and put `value`. If not, it found `found` (which is not `expected`). */
  | { readonly kind: 'swap'; readonly expected: number; readonly value: number; readonly done: boolean; readonly found?: number | undefined }
  /** A compare-and-swap whose outcome nobody learned. */
  | { readonly kind: 'swap-unknown'; readonly expected: number; readonly value: number };

export interface Operation {
  readonly key: number;
  readonly action: RegisterAction;
  readonly calledMs: number;
  /** Infinity if nobody learned the outcome. */
  readonly returnedMs: number;
}

/** What every register holds at first. */
export const EMPTY = 0;

/** The state after `action` in `state`, or undefined if it could not have had this outcome there. */
function after(action: RegisterAction, state: number): number | undefined {
  switch (action.kind) {
    case 'read':
      return action.value === state ? state : undefined;
    case 'write':
      return action.value;
    case 'swap':
      if (action.done) return action.expected === state ? action.value : undefined;
      return action.expected !== state && (action.found === undefined || action.found === state) ? state : undefined;
    case 'swap-unknown':
      return action.expected === state ? action.value : state;
  }
}

/** Keys whose history no register could have given. Empty: the whole history is linearizable. */
export function violatedKeys(history: readonly Operation[]): number[] {
  const byKey = new Map<number, Operation[]>();
  for (const operation of history) {
    const list = byKey.get(operation.key);
    if (list) list.push(operation);
    else byKey.set(operation.key, [operation]);
  }
  return [...byKey].filter(([, operations]) => !isLinearizable(operations)).map(([key]) => key);
}

/** A call or a return, in a list from which operations are lifted out and into which they are put back. */
interface Node {
  readonly operation: number;
  readonly action: RegisterAction;
  /** Of a call: its return. */
  readonly match: Node | undefined;
  readonly timeMs: number;
  next: Node | undefined;
  previous: Node | undefined;
}

/** Operations on one register. */
export function isLinearizable(operations: readonly Operation[]): boolean {
  const head = listOf(operations);
  let open = operations.filter(({ returnedMs }) => returnedMs !== Infinity).length;
  const done = new Set<string>();
  const bits = new Uint32Array((operations.length + 31) >> 5);
  const stack: { readonly node: Node; readonly state: number }[] = [];
  let state = EMPTY;
  let node = head.next;
  // What was never answered need not have happened: once all that were answered have, the history is explained.
  while (open > 0) {
    if (node?.match) {
      const next = after(node.action, state);
      if (next !== undefined && mark(bits, node.operation, next, done)) {
        stack.push({ node, state });
        state = next;
        if (node.match.timeMs !== Infinity) open--;
        lift(node);
        node = head.next;
      } else node = node.next;
      continue;
    }
    // A return that cannot wait any longer, or the end of the list: the last choice was wrong.
    const last = stack.pop();
    if (!last) return false;
    state = last.state;
    bits[last.node.operation >> 5]! &= ~(1 << (last.node.operation & 31));
    if (last.node.match?.timeMs !== Infinity) open++;
    putBack(last.node);
    node = last.node.next;
  }
  return true;
}

/** Counts the operation as done, unless this set of operations in this state was tried before. */
function mark(bits: Uint32Array, operation: number, state: number, tried: Set<string>): boolean {
  bits[operation >> 5]! |= 1 << (operation & 31);
  const key = `${state}:${bits.join()}`;
  if (!tried.has(key)) {
    tried.add(key);
    return true;
  }
  bits[operation >> 5]! &= ~(1 << (operation & 31));
  return false;
}

function listOf(operations: readonly Operation[]): Node {
  const nodes: Node[] = [];
  operations.forEach(({ action, calledMs, returnedMs }, operation) => {
    const end: Node = { operation, action, match: undefined, timeMs: returnedMs, next: undefined, previous: undefined };
    nodes.push({ operation, action, match: end, timeMs: calledMs, next: undefined, previous: undefined }, end);
  });
  // At equal times calls come first: the two may have overlapped.
  nodes.sort((a, b) => (a.timeMs === b.timeMs ? Number(b.match !== undefined) - Number(a.match !== undefined) : a.timeMs - b.timeMs));
  const head: Node = { operation: -1, action: { kind: 'read', value: 0 }, match: undefined, timeMs: -1, next: undefined, previous: undefined };
  let last = head;
  for (const node of nodes) {
    last.next = node;
    node.previous = last;
    last = node;
  }
  return head;
}

function lift(call: Node): void {
  unlink(call);
  unlink(call.match as Node);
}

function unlink(node: Node): void {
  if (node.previous) node.previous.next = node.next;
  if (node.next) node.next.previous = node.previous;
}

function putBack(call: Node): void {
  for (const node of [call.match as Node, call]) {
    if (node.previous) node.previous.next = node;
    if (node.next) node.next.previous = node;
  }
}
