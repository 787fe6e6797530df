import http from 'node:http';
import { join } from 'node:path';
import { NestFactory } from '@nestjs/core';
import type { Provider } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { EventHub } from '#events/host';
import type { Gateway } from '#http-kit';
import type { KeyPair } from '#identities/host';
import type { Clock, Logger } from '#kit';
import type { Members, ServerInfo } from '#members';
import type { Operations } from '#operations/host';
import type { Replica } from '#replica';
import { parseListenAddress } from '#server/model';
import { metricsNeedTrust } from '#server/state';
import { Callers } from './caller/callers.js';
import { DoorGuard } from './caller/door.guard.js';
import { Door } from './caller/door.js';
import type { Phase } from './caller/phase.js';
import { TrustStore } from './caller/trust-store.js';
import { Forwarder, type ForwardingCluster } from './forward/forwarder.js';
import { GatewayModule } from './gateway.module.js';
import { Cors } from './listen/cors.js';
import { HttpsListener, drain } from './listen/https-listener.js';
import { serverOptions } from './listen/limits.js';
import { routesOf, upgradesOf } from './listen/routes.js';
import type { OnePort } from './listen/one-port.js';
import { listenUnix } from './listen/unix-listener.js';
import { Upgrades } from './listen/upgrades.js';
import { ApiAdapter } from './reply/api-adapter.js';
import { FaultFilter } from './reply/fault.filter.js';
import { requestLog } from './reply/request-log.js';
import { StrayRequests } from './reply/stray-requests.js';

export type { ForwardingCluster } from './forward/forwarder.js';
export { listenForEngine, type OnePort } from './listen/one-port.js';
export { controllers, providers } from './wings.js';

export interface GatewayContext {
  replica: Replica;
  members: Members;
  events: EventHub;
  operations?: Operations;
  server: ServerInfo;
  clock: Clock;
  log: Logger;
  /** Holds unix.socket. */
  stateDir: string;
  /** Group that may open the socket; root alone when absent. */
  socketGroup?: string;
  /** What HTTPS shows: the server certificate, or the cluster's. */
  keyPair: KeyPair;
  /** Of core.https_address; '' or absent: no HTTPS until it is set. */
  httpsAddress?: string;
  /** Of cluster.https_address, where it is not covered by core's. */
  clusterAddress?: string;
  /** Of the certificate that the members of the cluster show each other. */
  clusterFingerprint?: () => string | undefined;
  /** Whose requests are handed over. Absent: nobody's. */
  cluster?: ForwardingCluster;
  /** Who else is reached at the port of the API. */
  onePort?: OnePort;
  /** Of core.metrics_address; '' or absent: metrics have no listener of their own. */
  metricsAddress?: string;
  /** The http wings' controllers. */
  controllers: (new (...args: never[]) => object)[];
  /** What they need beside the tokens of #http-kit. */
  providers?: Provider[];
  /** `running` when absent. */
  phase?: Phase;
}

export interface RunningGateway {
  /** 503 for everybody while starting, for writes while stopping. */
  setPhase(phase: Phase): void;
  readonly gateway: Gateway;
  /** What HTTPS shows from now on. */
  useCertificate(pair: KeyPair): void;
  /** Of cluster.https_address: a listener of its own unless core's takes the same connections. '' closes it. */
  listenCluster(address: string): Promise<void>;
  readonly socketPath: string;
  /** In fact listened on, for who asked for port 0. */
  httpsPort(): number | undefined;
  /** Lets answers that are under way go out (at most `graceMs`), then closes everything. */
  close(graceMs?: number): Promise<void>;
}

/** Brings up the gateway: both listeners, and all routes of the controllers behind one door. */
export async function startGateway(context: GatewayContext): Promise<RunningGateway> {
  const log = context.log.child({ service: 'api-gateway' });
  let phase: Phase = context.phase ?? 'running';
  const trust = new TrustStore(context.replica, context.clock);
  const needTrust = metricsNeedTrust(context.replica);
  const callers = new Callers(trust, context.clusterFingerprint);
  const door = new Door({ callers, phase: () => phase, metricsNeedTrust: needTrust.get });
  const strays = new StrayRequests(log);
  const adapter = new ApiAdapter(strays);
  const fastify = adapter.getInstance();

  const gateway: Gateway = {
    listenHttps: (address) => https.listen(address),
    listenMetrics: (address) => metrics.listen(address),
    routes: () => routes,
  };
  const app = await NestFactory.create<NestFastifyApplication>(GatewayModule.of(context, gateway), adapter, { logger: false, abortOnError: false });
  app.useGlobalGuards(new DoorGuard(door));
  app.useGlobalFilters(new FaultFilter(strays));
  const lineOf = requestLog(log, context.events);
  fastify.addHook('onResponse', (request, reply, done) => {
    lineOf(request, reply);
    done();
  });
  await app.init();
  await fastify.ready();

  const instances = context.controllers.map((controller) => app.get<object>(controller));
  const routes = instances.flatMap(routesOf);
  const { cluster: others, replica, members, operations } = context;
  const refuse = (thrown: unknown, request: http.IncomingMessage, response: http.ServerResponse): void => strays.refuse(thrown, request, response);
  const forwarder = others && new Forwarder({ cluster: others, replica, members, operations, callers, log, refuse });
  const upgrades = new Upgrades(instances.flatMap(upgradesOf), door, log, async (request, socket, head) =>
    forwarder && phase !== 'starting' ? forwarder.takeUpgrade(request, socket, head) : false,
  );
  strays.know(
    routes.map(({ path }) => path),
    upgrades,
    door,
  );

  const cors = new Cors(context.replica);
  const handle: http.RequestListener = (request, response) => {
    if (request.headers.origin !== undefined && phase !== 'starting' && cors.answer(request, response)) return;
    const here = (): void => fastify.routing(request, response);
    if (phase === 'starting' || !forwarder?.take(request, response, here)) here();
  };
  const options: http.ServerOptions = { ...serverOptions, shouldUpgradeCallback: upgrades.wants };
  const prepare = (server: http.Server): void => {
    server.on('upgrade', upgrades.handle);
    guarded(server);
  };
  const unix = http.createServer(options, handle);
  prepare(unix);
  const secure = { ...context.keyPair, options, handle, prepare, log, ...(context.onePort ? { onePort: context.onePort } : {}) };
  const https = new HttpsListener(secure);
  const cluster = new HttpsListener(secure);
  const listenCluster = (address: string): Promise<void> => cluster.listen(covers(https.address, address) ? '' : address);
  const metrics = new HttpsListener({ ...context.keyPair, options: serverOptions, handle: onlyMetrics(handle), prepare: guarded, log });
  const socketPath = join(context.stateDir, 'unix.socket');
  await listenUnix(unix, socketPath, context.socketGroup);
  // An address that has gone (a cable, a lease) must not keep the daemon from coming up: the unix socket is the way to mend it.
  const listenOrSay = (listener: HttpsListener, address = ''): Promise<void> =>
    listener.listen(address).catch((error: unknown) => log.error({ err: error, address }, 'cannot listen'));
  await listenOrSay(https, context.httpsAddress);
  await listenCluster(context.clusterAddress ?? '').catch((error: unknown) => log.error({ err: error }, 'cannot listen'));
  await listenOrSay(metrics, context.metricsAddress);

  return {
    setPhase: (next) => (phase = next),
    gateway,
    listenCluster,
    useCertificate(pair) {
      for (const listener of [https, cluster, metrics]) listener.useCertificate(pair);
    },
    socketPath,
    httpsPort: () => https.port,
    async close(graceMs = 2_000) {
      upgrades.close();
      forwarder?.close();
      await Promise.all([https.close(graceMs), cluster.close(graceMs), metrics.close(graceMs), drain(unix, graceMs)]);
      await app.close();
      trust[Symbol.dispose]();
      needTrust[Symbol.dispose]();
      cors[Symbol.dispose]();
    },
  };
}

/** Whether who listens on `address` takes what comes to `other` as well. */
function covers(address: string, other: string): boolean {
  if (address === '' || other === '') return other === '';
  const [mine, wanted] = [parseListenAddress(address), parseListenAddress(other)];
  const everywhere = mine.host === '' || mine.host === '::' || (mine.host === '0.0.0.0' && !wanted.host.includes(':'));
  return mine.port === wanted.port && (everywhere || mine.host === wanted.host);
}

/** A path that the listener of metrics does not have becomes one that nobody has. */
function onlyMetrics(handle: http.RequestListener): http.RequestListener {
  return (request, response) => {
    if (!/^\/(1\.0\/metrics)?(\?|$)/.test(request.url ?? '')) request.url = '/not-served-here';
    handle(request, response);
  };
}

function guarded(server: http.Server): void {
  server.on('clientError', onClientError);
}

/** What is not HTTP gets one line and is cut; node's own answer would do as well, but would wait for a slow reader. */
function onClientError(error: NodeJS.ErrnoException, socket: import('node:stream').Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy();
  const status =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? '431 Request Header Fields Too Large'
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? '408 Request Timeout'
        : '400 Bad Request';
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}
