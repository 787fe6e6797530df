import { randomBytes } from 'node:crypto';
import type { WebSocket } from 'ws';
import { fault } from '#kit';
import { ControlLink } from './control-link.js';
import { dial, type OperationAddress } from './dial.js';
import { FrameLink } from './frame-link.js';

/** Both websockets of a migration; closed by whoever met. */
export interface Links extends Disposable {
  control: ControlLink;
  fs: FrameLink;
}

const names = ['control', 'fs'] as const;
type Name = (typeof names)[number];
/** LXD waits as long. */
const waitMs = 10_000;

/** The side that waits: its operation shows the secrets, and the other side (or a client in between) comes with them. */
export class Waiting {
  readonly secrets: Readonly<Record<Name, string>> = { control: secret(), fs: secret() };
  readonly #links: Partial<Record<Name, ControlLink | FrameLink>> = {};
  readonly #complete = Promise.withResolvers<void>();

  /** For Operations: called at once for each socket, so that no frame is lost. */
  connect(name: string, socket: WebSocket): void {
    if (name === 'control') this.#links.control = new ControlLink(socket);
    else this.#links.fs = new FrameLink(socket);
    if (names.every((one) => this.#links[one])) this.#complete.resolve();
  }

  /** @throws Fault unavailable when they do not come in time, or it is cancelled */
  async met(signal: AbortSignal): Promise<Links> {
    const { reject } = this.#complete;
    const timer = setTimeout(() => reject(fault.unavailable('Timed out waiting for migration connections')), waitMs);
    const onAbort = (): void => reject(fault.unavailable('The migration was cancelled'));
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await this.#complete.promise;
      return linked(this.#links.control as ControlLink, this.#links.fs as FrameLink);
    } catch (error) {
      for (const name of names) this.#links[name]?.close();
      throw error;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
    }
  }
}

/** The side that comes. @throws Fault invalid, unavailable */
export async function visit(address: OperationAddress): Promise<Links> {
  const control = new ControlLink(await dial(address, 'control'));
  try {
    return linked(control, new FrameLink(await dial(address, 'fs')));
  } catch (error) {
    await control.finish(error);
    control.close();
    throw error;
  }
}

const linked = (control: ControlLink, fs: FrameLink): Links => ({
  control,
  fs,
  [Symbol.dispose]() {
    control.close();
    fs.close();
  },
});

const secret = (): string => randomBytes(32).toString('hex');
