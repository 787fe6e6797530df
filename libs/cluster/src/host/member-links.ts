import { WebSocket } from 'ws';
import type { EventHub } from '#events/host';
import type { EventType } from '#api-contract';
import type { Clock, Logger } from '#kit';
import { linkPath, silenceMs, type LinkFrame } from '../model/index.js';
import { splitAddress, tlsOptions, type MemberTls } from './call-member.js';
import type { Membership } from './membership.js';

const redialMs = 300;
const sweepMs = 500;

interface Link {
  address: string;
  socket: WebSocket | undefined;
  heardMs: number | undefined;
  redialing?: NodeJS.Timeout;
}

/** One stream from each other member. What comes on it is proof of life; its events go into this member's hub. */
export class MemberLinks {
  readonly #links = new Map<number, Link>();
  #sweeping: NodeJS.Timeout | undefined;
  #startedMs = 0;

  constructor(
    private readonly parts: {
      membership: Membership;
      events: EventHub;
      clock: Clock;
      log: Logger;
      tls: () => MemberTls | undefined;
    },
  ) {}

  start(): void {
    this.#startedMs = this.parts.clock.monotonicMs();
    this.follow();
    this.#sweeping = setInterval(() => this.#sweep(), sweepMs).unref();
  }

  stop(): void {
    clearInterval(this.#sweeping);
    for (const id of this.#links.keys()) this.#drop(id);
  }

  /** The members as they are now: links to those that came, none to those that left or moved. */
  follow(): void {
    const { membership, tls } = this.parts;
    const wanted = new Map(tls() && membership.clustered ? membership.others.map(({ id, address }) => [id, address]) : []);
    for (const [id, { address }] of this.#links) if (wanted.get(id) !== address) this.#drop(id);
    for (const [id, address] of wanted) {
      if (this.#links.has(id)) continue;
      const link: Link = { address, socket: undefined, heardMs: undefined };
      this.#links.set(id, link);
      this.#dial(id, link);
    }
  }

  /** Milliseconds since that member was heard; 0 for this one. */
  silentMs(id: number): number {
    const { membership, clock } = this.parts;
    if (id === membership.selfId) return 0;
    return clock.monotonicMs() - (this.#links.get(id)?.heardMs ?? this.#startedMs);
  }

  /** Nobody is believed gone before there was time to hear of it. */
  alive(id: number): boolean {
    return this.silentMs(id) < silenceMs;
  }

  #dial(id: number, link: Link): void {
    const { tls } = this.parts;
    const known = tls();
    if (!known || this.#links.get(id) !== link) return;
    const { host, port } = splitAddress(link.address);
    const url = `wss://${host.includes(':') ? `[${host}]` : host}:${port}${linkPath}`;
    const socket = new WebSocket(url, { ...tlsOptions(known), handshakeTimeout: silenceMs, perMessageDeflate: false });
    link.socket = socket;
    socket.on('message', (data: Buffer) => this.#frame(id, link, data.toString()));
    socket.on('error', () => socket.terminate());
    socket.on('close', () => {
      if (this.#links.get(id) !== link) return;
      link.socket = undefined;
      link.redialing = setTimeout(() => this.#dial(id, link), redialMs);
    });
  }

  #frame(id: number, link: Link, text: string): void {
    const { clock, membership, events, log } = this.parts;
    link.heardMs = clock.monotonicMs();
    try {
      const frame = JSON.parse(text) as LinkFrame;
      if (!('event' in frame)) return;
      const { type, project, boot, number, json } = frame.event;
      const location = membership.byId(id)?.name ?? '';
      events.inject({ type: type as EventType, ...(project === undefined ? {} : { project }), boot, number, location, json });
    } catch (error) {
      log.warn({ err: error, member: id }, 'a frame of another member is not understood');
    }
  }

  /** A connection on which nothing comes any more is given up: a black hole tells no end. */
  #sweep(): void {
    for (const [id, { socket }] of this.#links) if (socket?.readyState === WebSocket.OPEN && !this.alive(id)) socket.terminate();
  }

  #drop(id: number): void {
    const link = this.#links.get(id);
    this.#links.delete(id);
    clearTimeout(link?.redialing);
    link?.socket?.terminate();
  }
}
