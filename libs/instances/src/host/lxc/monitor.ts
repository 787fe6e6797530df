import { connect, type Socket } from 'node:net';
import { errorCode } from '#host-kit';
import { fault } from '#kit';
import type { PowerState } from '../../model/index.js';
import { signalProcess } from './processes.js';
import { commandSocketName } from './socket-name.js';

/** Commands of liblxc's monitor (commands.h of LXC 5.0). */
const commands = { stop: 2, state: 3, initPid: 4 } as const;
const states: readonly PowerState[] = ['stopped', 'starting', 'running', 'stopping', 'aborting', 'freezing', 'frozen', 'running'];
const answerBytes = 16;
const triesMax = 50;
const patienceMs = 5_000;
const stopPatienceMs = 60_000;
const SIGKILL = 9;

/**
 * The monitor of one container, asked over its command socket: no program has to be run, an answer takes 0.2 ms. The connection also tells of the end:
 * it closes when the monitor goes, whether that is a stop, a reboot or a SIGKILL of the monitor.
 */
export class Monitor {
  readonly #path: string;

  constructor(lxcPath: string, name: string) {
    this.#path = `\0${commandSocketName(lxcPath, name)}`;
  }

  /** 'stopped' when there is none. */
  async state(): Promise<PowerState> {
    const answer = await this.#ask(commands.state);
    return answer === undefined ? 'stopped' : (states[answer] ?? 'error');
  }

  /** 0 when there is none. */
  async initPid(): Promise<number> {
    return (await this.#ask(commands.initPid)) ?? 0;
  }

  /** Kills the container's init and resolves when the monitor is gone. */
  async stop(): Promise<void> {
    const { promise: gone, resolve } = Promise.withResolvers<void>();
    using hold = await this.hold(resolve);
    if (!hold) return;
    // A monitor that could kill says nothing and goes; one that answers could not, so that we do it.
    const asked = this.#ask(commands.stop, stopPatienceMs).catch(async () => {
      const pid = await this.initPid();
      if (pid > 0) signalProcess(pid, SIGKILL);
    });
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(fault.unavailable('The container does not die')), stopPatienceMs);
    });
    await Promise.race([gone, late]).finally(() => clearTimeout(timer));
    await asked;
  }

  /** Calls back once when the monitor is gone; undefined when there is none. */
  async hold(gone: () => void): Promise<Disposable | undefined> {
    const socket = await this.#connect();
    if (!socket) return undefined;
    socket.on('error', () => {});
    socket.once('close', gone);
    // Nothing is ever sent, but an unread stream would not tell of its end.
    socket.resume();
    return {
      [Symbol.dispose]: () => {
        socket.off('close', gone);
        socket.destroy();
      },
    };
  }

  /**
   * The answer's data word; undefined when there is no monitor. Only a refused connection means that: one that closes without an answer, or a refusal,
   * may be the moment between the monitor's accept and its asking for our credentials, and is asked again.
   */
  async #ask(command: number, timeoutMs = patienceMs): Promise<number | undefined> {
    for (let tries = 1; ; tries++) {
      const socket = await this.#connect();
      if (!socket) return undefined;
      const answer = await this.#askOnce(socket, command, timeoutMs);
      if (answer !== undefined) return answer;
      if (tries === triesMax) throw fault.internal('The monitor of the container refused');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  #askOnce(socket: Socket, command: number, timeoutMs: number): Promise<number | undefined> {
    const request = Buffer.alloc(answerBytes);
    request.writeInt32LE(command, 0);
    return new Promise((resolve, reject) => {
      let answer = Buffer.alloc(0);
      const timer = setTimeout(() => done(() => reject(fault.unavailable('Monitor is unresponsive'))), timeoutMs);
      const done = (settle: () => void): void => {
        clearTimeout(timer);
        socket.removeAllListeners();
        socket.on('error', () => {});
        socket.destroy();
        settle();
      };
      socket.on('data', (chunk) => {
        answer = Buffer.concat([answer, chunk]);
        if (answer.length < answerBytes) return;
        const refused = answer.readInt32LE(0) < 0;
        done(() => resolve(refused ? undefined : Number(answer.readBigInt64LE(8))));
      });
      socket.on('error', () => done(() => resolve(undefined)));
      socket.on('close', () => done(() => resolve(undefined)));
      socket.write(request);
    });
  }

  async #connect(): Promise<Socket | undefined> {
    for (let tries = 0; ; tries++) {
      const socket = connect({ path: this.#path });
      try {
        await new Promise<void>((resolve, reject) => {
          socket.once('connect', resolve);
          socket.once('error', reject);
        });
        return socket;
      } catch (error) {
        socket.destroy();
        if (errorCode(error) === 'ECONNREFUSED' || errorCode(error) === 'ENOENT') return undefined;
        // Its last moment: it no longer accepts, and is not gone yet.
        if (errorCode(error) !== 'ECONNRESET' || tries === 100) throw error;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
  }
}
