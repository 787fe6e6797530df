import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Provider } from '@nestjs/common';
import { startGateway, type RunningGateway } from '#apps/api-gateway';
import { clusterState } from '#cluster/state';
import { MemberEventHub, publishApplied } from '#events/host';
import { selfSigned, type KeyPair } from '#identities/host';
import { fingerprintOf, pemOf } from '#identities/model';
import { addCertificate, identitiesState } from '#identities/state';
import { silent, systemClock } from '#kit';
import { DirectMembers, type HostContext, type ServerInfo } from '#members';
import { MemberOperations } from '#operations/host';
import { projectsState } from '#projects/state';
import { openLocalStore } from '#replica';
import { internalIdentity, type StateWing } from '#replica/state';
import { ServerHost } from '#server/host';
import { serverState } from '#server/state';
import { MemoryReplica } from './memory-replica.js';

export interface TestGatewayOptions {
  controllers: (new (...args: never[]) => object)[];
  /** Beside those of identities, server, projects and cluster. */
  wings?: readonly StateWing[];
  providers?: Provider[];
  /** More host wings. */
  hosts?: (context: HostContext, operations: MemberOperations) => void | Promise<void>;
  https?: boolean;
}

export interface TestReply {
  status: number;
  headers: http.IncomingHttpHeaders;
  text: string;
  /** The envelope. */
  body: { type: string; metadata: unknown; error: string; error_code: number; operation: string };
}

export interface CallOptions {
  body?: unknown;
  headers?: Record<string, string>;
  /** Over HTTPS with this certificate, or with none (`guest`); over the unix socket when absent. */
  as?: KeyPair | 'guest';
  /** Of another listener than core.https_address's. */
  port?: number;
}

/** A gateway on a socket of its own, over a replica in memory: for the specs of http wings. */
export class TestGateway implements AsyncDisposable {
  private constructor(
    readonly running: RunningGateway,
    readonly replica: MemoryReplica,
    readonly context: HostContext,
    readonly events: MemberEventHub,
    readonly server: KeyPair,
    private readonly dispose: () => Promise<void>,
    private readonly shared: { cluster?: KeyPair | undefined },
  ) {}

  /** The key pair by which members of a cluster know each other; none at first. */
  set cluster(pair: KeyPair | undefined) {
    this.shared.cluster = pair;
  }

  static async open({ controllers, wings = [], providers = [], hosts, https: withHttps = false }: TestGatewayOptions): Promise<TestGateway> {
    const stateDir = mkdtempSync(join(tmpdir(), 'muster-gateway-'));
    const replica = await MemoryReplica.open({ wings: [identitiesState, projectsState, serverState, clusterState, ...wings] });
    const local = openLocalStore(join(stateDir, 'local.db'));
    const keyPair = await serverPair();
    const fingerprint = fingerprintOf(new X509Certificate(keyPair.certificate));
    const memberName = (): string => 'none';
    const members = new DirectMembers({ checked: true, memberName });
    const server: ServerInfo = {
      stateDir,
      memberName,
      memberId: 1,
      startedAt: new Date(),
      pid: process.pid,
      version: '0.0.0',
      certificate: () => keyPair.certificate,
      fingerprint: () => fingerprint,
      shutdown: async () => undefined,
    };
    const naming: HostContext['naming'] = { hash: 'test00', lxc: (project, name) => `${project}_${name}`, nftTable: 'muster_test00' };
    const context: HostContext = { replica, local, members, server, naming, clock: systemClock, log: silent };
    const events = new MemberEventHub({ clock: systemClock, location: memberName });
    const lifecycle = publishApplied(replica, events);
    const operations = new MemberOperations({ local, events, clock: systemClock, log: silent, memberId: () => 1, location: memberName });
    const shared: { cluster?: KeyPair | undefined } = {};
    const clusterFingerprint = (): string | undefined => shared.cluster && fingerprintOf(new X509Certificate(shared.cluster.certificate));
    const { config } = new ServerHost(context);
    if (withHttps) config.replace({ 'core.https_address': anyPort });
    await hosts?.(context, operations);
    const running = await startGateway({
      replica,
      members,
      events,
      operations,
      server,
      clock: systemClock,
      log: silent,
      stateDir,
      keyPair,
      clusterFingerprint,
      ...(withHttps ? { httpsAddress: anyPort } : {}),
      controllers,
      providers,
    });
    const dispose = async (): Promise<void> => {
      await running.close(200);
      lifecycle[Symbol.dispose]();
      await operations.shutdown(100);
      await replica.close();
      local.close();
      rmSync(stateDir, { recursive: true, force: true });
    };
    return new TestGateway(running, replica, context, events, keyPair, dispose, shared);
  }

  /** Trusts a new client certificate; with `projects` a restricted one. */
  async client(projects?: string[], type: 'client' | 'metrics' | 'server' = 'client'): Promise<KeyPair> {
    const pair = await selfSigned('client');
    const certificate = new X509Certificate(pair.certificate);
    const added = { fingerprint: fingerprintOf(certificate), type, name: 'client', certificate: pemOf(certificate) };
    await this.replica.submit(
      addCertificate,
      { ...added, restricted: projects !== undefined, projects: projects ?? [] },
      { identity: internalIdentity },
    );
    return pair;
  }

  call(method: string, path: string, { body, headers = {}, as, port }: CallOptions = {}): Promise<TestReply> {
    const payload = body === undefined ? undefined : typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
    const options = {
      method,
      path,
      headers: { ...(payload === undefined ? {} : { 'content-length': String(Buffer.byteLength(payload)) }), ...headers },
    };
    return new Promise((resolve, reject) => {
      const request =
        as === undefined
          ? http.request({ ...options, socketPath: this.running.socketPath })
          : https.request({
              ...options,
              port: port ?? this.running.httpsPort(),
              rejectUnauthorized: false,
              agent: false,
              ...(as === 'guest' ? {} : { cert: as.certificate, key: as.key }),
            });
      request.on('error', reject).on('response', (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', reject);
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          const isJson = response.headers['content-type']?.startsWith('application/json') && text !== '';
          resolve({
            status: response.statusCode!,
            headers: response.headers,
            text,
            body: (isJson ? JSON.parse(text) : undefined) as TestReply['body'],
          });
        });
      });
      request.end(payload);
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}

const anyPort = '127.0.0.1:0';

let pair: Promise<KeyPair> | undefined;
const serverPair = (): Promise<KeyPair> => (pair ??= selfSigned('server'));
