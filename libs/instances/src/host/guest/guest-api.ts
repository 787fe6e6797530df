import { Readable } from 'node:stream';
import type { ConfigMap, DevicesMap } from '#api-contract';
import { isTrue } from '#config-keys';
import { findImage } from '#images/state';
import { isFingerprint, multipartBody } from '#images/model';
import { Fault } from '#kit';
import { ImagesAgentService } from '#members';
import { effectiveProject } from '#projects/state';
import type { InstanceRecord } from '../../state/index.js';
import type { InstanceTools } from '../tools.js';
import { internalContext } from '../writer.js';

/** No envelope: JSON, a value, bytes, or the text of a refusal. */
export type GuestAnswer =
  | { status: 200; headers: Record<string, string>; body: string | Readable }
  | { status: 200; events: ReadonlySet<string> }
  | { status: 400 | 401 | 403 | 404 | 500; body: string };

/** The paths under /dev/lxd, for one instance as it is recorded now. @see doc/dev-lxd.md of LXD; what it answers, this answers */
export class GuestApi {
  constructor(private readonly tools: InstanceTools) {}

  /** Never rejects. */
  async answer(record: InstanceRecord, url: string): Promise<GuestAnswer> {
    try {
      return await this.#answer(record, url);
    } catch (error) {
      if (error instanceof URIError) return refused(400);
      const { kind, message } = Fault.from(error);
      if (kind === 'notFound') return { status: 404, body: message };
      this.tools.log.warn({ err: error, instance: record.name, project: record.project }, 'could not answer a guest');
      return refused(500);
    }
  }

  async #answer(record: InstanceRecord, url: string): Promise<GuestAnswer> {
    const [path = '', query = ''] = url.split('?', 2);
    if (path === '/') return json(['/1.0']);
    const [version, subject, key, action, ...more] = path.slice(1).split('/');
    if (version !== '1.0' || more.length > 0) return notFound;
    const { expandedConfig: config } = record;
    if (!isTrue(config['security.devlxd'], true)) return refused(403);
    switch (`${subject ?? ''}${key === undefined ? '' : '/'}`) {
      case '':
        return json({ api_version: '1.0', location: this.tools.context.server.memberName(), instance_type: record.type });
      case 'config':
        return json(
          Object.keys(config)
            .filter(isVisible)
            .map((name) => `/1.0/config/${name}`),
        );
      case 'config/':
        return action === undefined ? value(config, decodeURIComponent(key!)) : notFound;
      case 'meta-data':
        return plain(`#cloud-config\ninstance-id: ${cloudId(record)}\nlocal-hostname: ${record.name}\n${config['user.meta-data'] ?? ''}`);
      case 'events':
        return { status: 200, events: new Set((new URLSearchParams(query).get('type') || 'config,device').split(',')) };
      case 'devices':
        return json(devices(record));
      case 'images/':
        return action === 'export' ? this.#image(record, decodeURIComponent(key!)) : notFound;
      default:
        return notFound;
    }
  }

  /** Of its own project only, by its whole fingerprint: what everybody may have, or what is here as a mere copy of such. */
  async #image(record: InstanceRecord, fingerprint: string): Promise<GuestAnswer> {
    if (!isTrue(record.expandedConfig['security.devlxd.images'])) return refused(403);
    const { reader, context } = this.tools;
    const project = effectiveProject(reader, record.project, 'features.images');
    const image = isFingerprint(fingerprint) ? findImage(reader, project, fingerprint) : undefined;
    if (!image || !(image.public || image.cached)) return { status: 404, body: 'Image not found' };
    const { parts } = await context.members.calls(ImagesAgentService).exportImage({ project, fingerprint, requestProject: project }, internalContext);
    // All tickets are taken now: they do not last as long as a slow guest may need for the first part.
    const streams = parts.map(({ ticket }) => context.members.streams.open(ticket) as Readable);
    const [only] = parts;
    if (parts.length === 1) {
      const headers = { 'content-length': String(only!.size), 'content-disposition': `inline;filename=${only!.filename}` };
      return { status: 200, headers: { 'content-type': 'application/octet-stream', ...headers }, body: streams[0]! };
    }
    const { contentType, size, chunks } = multipartBody(parts.map((part, index) => ({ ...part, open: () => streams[index]! })));
    const body = Readable.from(chunks(), { objectMode: false });
    body.once('close', () => streams.forEach((stream) => stream.destroy()));
    return { status: 200, headers: { 'content-type': contentType, 'content-length': String(size) }, body };
  }
}

/** The rest of the config is none of the guest's business. */
const isVisible = (key: string): boolean => key.startsWith('user.') || key.startsWith('cloud-init.');

function value(config: ConfigMap, key: string): GuestAnswer {
  if (!isVisible(key)) return refused(403);
  const found = config[key];
  return found === undefined ? refused(404) : plain(found);
}

const cloudId = ({ config, name }: InstanceRecord): string => config['volatile.cloud-init.instance-id'] || name;

/** With the addresses that nics were given, by which the guest tells them apart. */
function devices({ expandedDevices, config }: InstanceRecord): DevicesMap {
  const known = (name: string, device: Record<string, string>): Record<string, string> => {
    const hwaddr = device.hwaddr || config[`volatile.${name}.hwaddr`];
    return device.type === 'nic' && hwaddr ? { ...device, hwaddr } : device;
  };
  return Object.fromEntries(Object.entries(expandedDevices).map(([name, device]) => [name, known(name, device)]));
}

const json = (document: unknown): GuestAnswer => ({
  status: 200,
  headers: { 'content-type': 'application/json' },
  body: `${JSON.stringify(document)}\n`,
});

const plain = (body: string): GuestAnswer => ({ status: 200, headers: { 'content-type': 'application/octet-stream' }, body });

const texts = { 400: 'bad request', 403: 'not authorized', 404: 'not found', 500: 'internal server error' } as const;
const refused = (status: keyof typeof texts): GuestAnswer => ({ status, body: texts[status] });
/** No such path; what a path lacks says `refused(404)`. */
const notFound: GuestAnswer = { status: 404, body: '404 page not found' };
