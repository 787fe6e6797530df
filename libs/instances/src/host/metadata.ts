import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

import { stringify } from 'yaml';
import { checkEtag } from '#api-contract';
import { RootDir } from '#host-kit';
import { Fault, fault } from '#kit';
import type { CallContext, FileReply } from '#members';
import type { MountedVolume } from '#storage/host';
import { rootVolume, type InstanceRecord } from '../state/index.js';
import { readMetadata } from './templates.js';
import type { InstanceTools } from './tools.js';

const templateMaxBytes = 1024 * 1024;

/** metadata.yaml and templates/ of this member's instances: what their image says of itself, theirs to change. */
export class InstanceMetadata {
  constructor(private readonly tools: InstanceTools) {}

  async read(record: InstanceRecord): Promise<Record<string, unknown>> {
    await using volume = await this.#mount(record);
    return { ...emptyMetadata, ...(await readMetadata(volume.path)) };
  }

  async write(record: InstanceRecord, metadata: Record<string, unknown>, by: CallContext, ifMatch?: string): Promise<void> {
    await using volume = await this.#mount(record);
    checkEtag(ifMatch, { ...emptyMetadata, ...(await readMetadata(volume.path)) });
    const text = stringify(metadata);
    if (Buffer.byteLength(text) > templateMaxBytes) throw fault.tooLarge('The metadata is too large');
    using directory = RootDir.open(volume.path);
    // Beside, then over: a crash leaves one or the other.
    using file = directory.openForWriting('metadata.yaml.new', { mode: 0o400 });
    const stream = file.writeStream();
    await new Promise<void>((resolve, reject) => stream.once('error', reject).end(text, () => stream.once('close', resolve)));
    directory.rename('metadata.yaml.new', 'metadata.yaml');
    this.tools.tell(record, 'instance-metadata-updated', by);
  }

  async templates(record: InstanceRecord): Promise<string[]> {
    await using volume = await this.#mount(record);
    using directory = RootDir.open(volume.path);
    return directory.exists('templates') ? (await directory.list('templates')).sort() : [];
  }

  async readTemplate(record: InstanceRecord, name: string, by: CallContext): Promise<FileReply> {
    checkTemplateName(name);
    const volume = await this.#mount(record);
    try {
      using directory = RootDir.open(volume.path);
      const file = notFoundAs('Template not found', () => directory.openFile(`templates/${name}`));
      const { size, mtime } = file.stats;
      const stream = file.readStream(size > 0 ? { end: size - 1 } : {});
      stream.once('close', () => void volume[Symbol.asyncDispose]());
      const ticket = this.tools.context.members.streams.offer(stream);
      this.tools.tell(record, 'instance-metadata-template-retrieved', by, { path: name });
      return { type: 'file', uid: 0, gid: 0, mode: 0o644, modified: mtime.toISOString(), size, ticket, names: [], target: '' };
    } catch (error) {
      await volume[Symbol.asyncDispose]();
      throw error;
    }
  }

  async writeTemplate(record: InstanceRecord, name: string, body: Readable, by: CallContext): Promise<void> {
    checkTemplateName(name);
    await using volume = await this.#mount(record);
    using directory = RootDir.open(volume.path);
    if (!directory.exists('templates')) directory.makeDirectory('templates', 0o711);
    let bytes = 0;
    body.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > templateMaxBytes) body.destroy(fault.tooLarge('The template is too large'));
    });
    await pipeline(body, directory.openForWriting(`templates/${name}`, { mode: 0o644 }).writeStream());
    this.tools.tell(record, 'instance-metadata-template-created', by, { path: name });
  }

  async removeTemplate(record: InstanceRecord, name: string, by: CallContext): Promise<void> {
    checkTemplateName(name);
    await using volume = await this.#mount(record);
    using directory = RootDir.open(volume.path);
    notFoundAs('Template not found', () => directory.unlink(`templates/${name}`));
    this.tools.tell(record, 'instance-metadata-template-deleted', by, { path: name });
  }

  #mount(record: InstanceRecord): Promise<MountedVolume> {
    return this.tools.ports.storage.mount(rootVolume(record));
  }
}

export const emptyMetadata = { architecture: '', creation_date: 0, expiry_date: 0, properties: null, templates: null };

/** @throws Fault invalid */
function checkTemplateName(name: string): void {
  if (!/^[A-Za-z0-9._-]+$/.test(name) || name.startsWith('.')) throw fault.invalid('Invalid template name');
}

function notFoundAs<T>(message: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof Fault && error.kind === 'notFound') throw fault.notFound(message, { cause: error });
    throw error;
  }
}
