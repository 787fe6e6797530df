import { dirname, join } from 'node:path';
import { finished } from 'node:stream/promises';
import { parse } from 'yaml';
import { isTrue } from '#config-keys';
import { RootDir, toHost, type Idmap } from '#host-kit';
import { fault } from '#kit';
import { renderTemplate, type TemplateScope } from '../model/index.js';
import type { InstanceRecord } from '../state/index.js';
import type { InstanceTools } from './tools.js';

const templateMaxBytes = 1024 * 1024;

interface TemplateEntry {
  when?: string[];
  template: string;
  create_only?: boolean;
  properties?: Record<string, string>;
}

/** Files that an image wants written into its instances (metadata.yaml, templates/). */
export class Templates {
  constructor(private readonly tools: InstanceTools) {}

  /** Writes those that are due at this start. @param idmap of the files on disk. @throws Fault when one cannot be rendered */
  async apply(record: InstanceRecord, volume: string, idmap: Idmap): Promise<void> {
    const metadata = await readMetadata(volume);
    const entries = Object.entries((metadata?.templates ?? {}) as Record<string, TemplateEntry>);
    const first = record.config['volatile.apply_template'];
    for (const trigger of first ? [first, 'start'] : ['start']) {
      for (const [path, entry] of entries) if (entry?.when?.includes(trigger)) await this.#write(record, volume, idmap, trigger, path, entry);
    }
  }

  async #write(record: InstanceRecord, volume: string, idmap: Idmap, trigger: string, path: string, entry: TemplateEntry): Promise<void> {
    if (!/^[^/\0]+$/.test(entry.template) || entry.template.startsWith('.')) throw fault.invalid(`Invalid template name "${entry.template}"`);
    using templates = RootDir.open(join(volume, 'templates'));
    const text = (await templates.readFile(entry.template, templateMaxBytes)).toString();
    using root = RootDir.open(join(volume, 'rootfs'));
    if (entry.create_only && root.exists(path)) return;
    const content = renderTemplate(text, scopeOf(record, trigger, path, entry));
    const owner = { uid: toHost(idmap, 'uid', 0) ?? 0, gid: toHost(idmap, 'gid', 0) ?? 0 };
    root.makeDirectories(dirname(`/${path}`), 0o755, owner);
    const stream = root.openForWriting(path, { mode: 0o644, owner }).writeStream();
    stream.end(content);
    await finished(stream);
  }
}

function scopeOf(record: InstanceRecord, trigger: string, path: string, entry: TemplateEntry): TemplateScope {
  const { expandedConfig: config } = record;
  const about = {
    name: record.name,
    type: record.type,
    architecture: record.architecture,
    ephemeral: String(record.ephemeral),
    privileged: String(isTrue(config['security.privileged'])),
  };
  return {
    trigger,
    path,
    container: about,
    instance: about,
    config,
    devices: record.expandedDevices,
    properties: entry.properties ?? {},
    config_get: (key, fallback) => (Object.hasOwn(config, String(key)) ? config[String(key)]!.replace(/[\r\n]+$/, '') : fallback),
  };
}

/** metadata.yaml of an instance's volume; undefined when there is none. @throws Fault invalid */
export async function readMetadata(volume: string): Promise<Record<string, unknown> | undefined> {
  using directory = RootDir.open(volume);
  if (!directory.exists('metadata.yaml')) return undefined;
  const text = (await directory.readFile('metadata.yaml', templateMaxBytes)).toString();
  try {
    return (parse(text, { maxAliasCount: 100 }) ?? {}) as Record<string, unknown>;
  } catch (error) {
    throw fault.invalid('Could not parse metadata.yaml', { cause: error });
  }
}
