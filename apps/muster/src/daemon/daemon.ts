import { chmodSync, mkdirSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { controllers, providers, startGateway } from '#apps/api-gateway';
import { startAgent } from '#apps/member-agent';
import { startScheduler } from '#apps/scheduler';
import { ClusterIdentity, type ClusterListeners, NetworkStore } from '#cluster/host';
import { MemberEventHub } from '#events/host';
import { serverCertificate } from '#identities/host';
import { systemClock, type Logger } from '#kit';
import { DirectMembers, RemoteMembers, type ServerInfo } from '#members';
import { openLocalStore } from '#replica';
import { version } from '../version.js';
import { namingOf } from './naming.js';
import { openMember } from './open-member.js';

export interface DaemonOptions {
  stateDir: string;
  log: Logger;
  /** Group that may use the unix socket, beside root. */
  group?: string;
}

export interface Daemon {
  /**
   * Ends the daemon. With `host` the machine (or the user) wants everything down: instances stop first. Without it they go on and are found again.
   * Repeating it is safe: every caller waits for the same end.
   */
  stop(options: { host: boolean }): Promise<void>;
  /** Resolves when it has stopped, whoever asked. */
  readonly ended: Promise<void>;
}

/** One member in one process: engine (in its worker), agent, scheduler, gateway, in this order. */
export async function startDaemon({ stateDir, log, group }: DaemonOptions): Promise<Daemon> {
  const startedAt = new Date();
  mkdirSync(stateDir, { recursive: true, mode: 0o711 });
  // Mapped roots of containers pass through here on the way to their file systems.
  chmodSync(stateDir, 0o711);

  const clock = systemClock;
  const local = openLocalStore(join(stateDir, 'local.db'));
  const store = new NetworkStore(local);
  const identity = new ClusterIdentity(stateDir, await serverCertificate(stateDir, hostname()), store.read().length > 0);
  const { replica, membership, services, endEarly } = await openMember({ stateDir, log, local, identity, store });

  const memberName = (): string => membership.name;
  const remote = new RemoteMembers({
    services,
    address: (name) => membership.byName(name)?.address,
    alive: () => membership.others.filter(({ id }) => agent.cluster?.links.alive(id)).map(({ name }) => name),
    pair: () => identity.clusterPair,
  });
  const members = new DirectMembers({ checked: process.env.MUSTER_CHECKED === '1', memberName, remote }, services);
  const events = new MemberEventHub({ clock, location: memberName });
  const server: ServerInfo = {
    stateDir,
    memberName,
    get memberId() {
      return membership.selfId;
    },
    startedAt,
    pid: process.pid,
    version,
    certificate: () => identity.pair.certificate,
    fingerprint: () => identity.fingerprint,
    autostarted: () => autostarted.promise,
    shutdown: () => stopServices(true),
  };
  const autostarted = Promise.withResolvers<void>();
  const context = { replica, local, members, server, naming: namingOf(stateDir), clock, log };
  const listeners = (): ClusterListeners => ({
    useCertificate: (pair) => gateway.useCertificate(pair),
    listenHttps: (address) => gateway.gateway.listenHttps(address),
    listenCluster: (address) => gateway.listenCluster(address),
  });
  const agent = await startAgent({ ...context, events, cluster: { replica, membership, identity, store, listeners } });
  const scheduler = await startScheduler(context);
  const config = agent.server.config.read();
  await endEarly();
  const gateway = await startGateway({
    ...context,
    events,
    operations: agent.operations,
    stateDir,
    socketGroup: group,
    keyPair: identity.pair,
    httpsAddress: config['core.https_address'],
    clusterAddress: config['cluster.https_address'],
    clusterFingerprint: () => identity.clusterPair && identity.fingerprint,
    cluster: {
      get clustered() {
        return membership.clustered && identity.clusterPair !== undefined;
      },
      get selfId() {
        return membership.selfId;
      },
      tls: () => identity.tls,
      byId: (id) => membership.byId(id),
      byName: (name) => membership.byName(name),
      alive: (id) => agent.cluster?.links.alive(id) ?? false,
    },
    onePort: {
      wanted: () => identity.clusterPair !== undefined,
      engine: (fd) => replica.accept(fd),
      services: (socket) => remote.accept(socket),
    },
    metricsAddress: config['core.metrics_address'],
    controllers,
    providers,
  });
  log.info({ ms: Date.now() - startedAt.getTime(), socket: gateway.socketPath, stateDir }, 'serving');
  void agent.autostart().finally(autostarted.resolve);

  const { promise: ended, resolve } = Promise.withResolvers<void>();
  let stopping: Promise<void> | undefined;
  /** Everything that works; the sockets stay, so that who asked for the end hears of it. */
  const stopServices = (host: boolean): Promise<void> =>
    (stopping ??= (async () => {
      gateway.setPhase('stopping');
      await scheduler.stop();
      await agent.stop({ host });
      setImmediate(() => void close());
    })());
  const close = async (): Promise<void> => {
    events.close('server is shutting down');
    // The streams say so before their connections are cut.
    await new Promise(setImmediate);
    await gateway.close();
    await remote.close();
    await replica.close();
    membership[Symbol.dispose]();
    local.close();
    resolve();
  };
  return {
    ended,
    async stop({ host }) {
      await stopServices(host);
      await ended;
    },
  };
}
