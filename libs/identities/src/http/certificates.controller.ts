import { X509Certificate } from 'node:crypto';
import { Controller, Inject, Optional } from '@nestjs/common';
import { apiUrl, etagOf, type Certificate } from '#api-contract';
import { Body, CLOCK, LOGGER, OPERATIONS, REPLICA, Route, SERVER, callContext, list, reply, write, type ApiRequest, type Reply } from '#http-kit';
import { fault, type Clock, type Logger } from '#kit';
import type { ServerInfo } from '#members';
import type { Replica } from '#replica';
import { checkTrustable, checkType, commonName, fingerprintOf, parseCertificate, pemOf } from '../model/index.js';
import {
  addCertificate,
  certificate,
  certificateEtag,
  certificates,
  removeCertificate,
  updateCertificate,
  type CertificateRecord,
  type NewCertificate,
} from '../state/index.js';
import { Admission, type Admitted } from './admission.js';
import { TRUST_SETTINGS, type TrustSettings } from './trust-settings.js';
import { TrustTokens, type TokenGrant, type TokenOperations } from './trust-tokens.js';

@Controller()
export class CertificatesController {
  readonly #tokens: TrustTokens | undefined;
  readonly #admission: Admission;

  constructor(
    @Inject(REPLICA) private readonly replica: Replica,
    @Inject(SERVER) server: ServerInfo,
    @Inject(CLOCK) private readonly clock: Clock,
    @Inject(LOGGER) log: Logger,
    @Inject(TRUST_SETTINGS) private readonly settings: TrustSettings,
    @Optional() @Inject(OPERATIONS) operations?: TokenOperations,
  ) {
    this.#tokens = operations && new TrustTokens(operations, server);
    this.#admission = new Admission(settings, this.#tokens, clock, log);
  }

  @Route('GET', '/1.0/certificates', { access: 'trusted' })
  async list(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const visible = certificates(this.replica.reader).filter((record) => maySee(request, record));
    return list(request, visible, { url: ({ fingerprint }) => apiUrl(['certificates', fingerprint]), document });
  }

  @Route('POST', '/1.0/certificates', { access: 'guest' })
  async add(request: ApiRequest): Promise<Reply> {
    const { caller } = request;
    const body = new Body(request.body);
    const [text, asToken] = [body.string('certificate'), body.boolean('token')];
    const asked = { name: body.string('name'), restricted: body.boolean('restricted'), projects: body.strings('projects') };
    const type = body.string('type');
    if (asToken) return this.#issue(request, { ...asked, type: type as 'client' }, text);
    if (caller.trusted && text === '') throw fault.invalid('Client is already trusted');
    await this.replica.barrier();
    const grant: Admitted = caller.admin
      ? { ...asked, type: checkType(type) }
      : await this.#admission.admit(request, body.string('password'), { ...asked, type });
    // What a token was made for cannot be overridden by who uses it: the certificate is then the connection's own.
    const shown = text !== '' && !grant.fromToken ? parseCertificate(text) : caller.certificate && new X509Certificate(caller.certificate);
    if (!shown) throw fault.invalid('No client certificate provided');
    checkTrustable(shown, this.clock.now());
    const fingerprint = fingerprintOf(shown);
    const name = grant.name || commonName(shown) || hostOf(caller.identity.address);
    const { restricted, projects } = grant;
    const added: NewCertificate = { fingerprint, type: grant.type, name, certificate: pemOf(shown), restricted, projects };
    return write(this.replica, request, addCertificate, added, () => reply.created(apiUrl(['certificates', fingerprint])));
  }

  @Route('GET', '/1.0/certificates/:fingerprint', { access: 'trusted' })
  async read(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const record = this.#visible(request);
    return reply.sync(document(record), etagOf(certificateEtag(record)));
  }

  @Route('PUT', '/1.0/certificates/:fingerprint', { access: 'trusted' })
  async replace(request: ApiRequest): Promise<Reply> {
    return this.#update(request, new Body(request.body), false);
  }

  @Route('PATCH', '/1.0/certificates/:fingerprint', { access: 'trusted' })
  async patch(request: ApiRequest): Promise<Reply> {
    return this.#update(request, new Body(request.body), true);
  }

  @Route('DELETE', '/1.0/certificates/:fingerprint', { access: 'admin' })
  async remove(request: ApiRequest): Promise<Reply> {
    return write(this.replica, request, removeCertificate, { fingerprint: request.params.fingerprint! }, () => reply.empty());
  }

  async #issue(request: ApiRequest, grant: TokenGrant, certificateText: string): Promise<Reply> {
    if (certificateText !== '') throw fault.invalid("Can't use certificate if token is requested");
    if (grant.type !== 'client') throw fault.invalid('Tokens can only be issued for client certificates');
    if (!request.caller.admin) throw fault.forbidden('not authorized');
    if (!this.#tokens) throw fault.unsupported('Tokens are not served by this process');
    const addresses = await this.settings.addresses(callContext(request));
    if (addresses.length === 0) throw fault.invalid("Can't issue token when server isn't listening on network");
    const expiresAt = this.settings.tokenExpiry(this.clock.now());
    if (request.dryRun) return reply.dryRun([{ entity: 'operations', action: 'create', before: null, after: { class: 'token', request: grant } }]);
    return reply.operation(this.#tokens.issue(grant, addresses, expiresAt, callContext(request)));
  }

  async #update(request: ApiRequest, body: Body, patch: boolean): Promise<Reply> {
    await this.replica.barrier();
    const current = this.#visible(request);
    const text = body.string('certificate');
    const renewed = text === '' || text === current.certificate ? undefined : parseCertificate(text);
    if (renewed) checkTrustable(renewed, this.clock.now());
    const kept = patch ? current : { name: '', type: '', restricted: false };
    const put: NewCertificate = {
      name: body.string('name', kept.name),
      type: checkType(body.string('type', kept.type)),
      restricted: body.boolean('restricted', kept.restricted),
      projects: patch && !body.has('projects') ? current.projects : body.strings('projects'),
      certificate: renewed ? pemOf(renewed) : current.certificate,
      fingerprint: renewed ? fingerprintOf(renewed) : current.fingerprint,
    };
    const payload = { fingerprint: current.fingerprint, put, ifMatch: request.ifMatch, ownOnly: !request.caller.admin };
    return write(this.replica, request, updateCertificate, payload, () => reply.empty());
  }

  /** @throws Fault notFound, also for what a restricted caller may not see */
  #visible(request: ApiRequest): CertificateRecord {
    const record = certificate(this.replica.reader, request.params.fingerprint!);
    if (!maySee(request, record)) throw fault.notFound('Certificate not found');
    return record;
  }
}

/** A restricted client sees its own certificate and no other. */
const maySee = ({ caller }: ApiRequest, { fingerprint }: CertificateRecord): boolean => caller.admin || caller.fingerprint === fingerprint;

const document = ({ name, type, restricted, projects, certificate, fingerprint }: CertificateRecord): Certificate => ({
  name,
  type,
  restricted,
  projects,
  certificate,
  fingerprint,
});

const hostOf = (address: string): string => address.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
