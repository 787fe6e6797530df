import { lstat, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { idmapFromJson, RootDir } from '#host-kit';
import type { InstancePublisher } from '#images/host';
import { metadataMaxBytes } from '#images/model';
import type { InstancesAgent } from '#instances/host';
import { isRunning } from '#instances/model';
import { type InstanceRecord, rootVolume, snapshot as snapshotNamed } from '#instances/state';
import { fault } from '#kit';
import type { HostContext } from '#members';
import type { StorageHost } from '#storage/host';
import { type ArchivePart, streamArchive } from './archive-write.js';
import type { BackupFiles } from './backup-files.js';
import { unshifted } from './unshifted.js';

type Request = Parameters<InstancePublisher['publish']>[0];

/** Makes images of this member's instances and snapshots. */
export class Publisher implements InstancePublisher {
  constructor(
    private readonly context: HostContext,
    private readonly storage: StorageHost,
    private readonly instances: InstancesAgent,
    private readonly files: BackupFiles,
  ) {}

  async publish({ project, name, snapshot, properties, expiresAt, signal }: Request): ReturnType<InstancePublisher['publish']> {
    const record = this.instances.tools.named(project, name);
    const of = snapshot === undefined ? record : snapshotNamed(this.context.replica.reader, record.id, snapshot);
    if (snapshot === undefined && isRunning((await this.instances.power.power(record)).state))
      throw fault.invalid('Cannot export a running instance as an image');
    const stack = new AsyncDisposableStack();
    try {
      const work = this.files.temporaryPath();
      await mkdir(work, { mode: 0o700 });
      stack.defer(() => rm(work, { recursive: true, force: true }));
      const volume = rootVolume(record);
      const mounted = stack.use(snapshot === undefined ? await this.storage.mount(volume) : await this.storage.mountSnapshot(volume, snapshot));
      const view = stack.use(await unshifted(mounted.path, idmapFromJson(of.config['volatile.last_state.idmap'] ?? ''), join(work, 'view')));
      const metadata = await this.#metadata(view.path, record, properties, expiresAt);
      await writeFile(join(work, 'metadata.yaml'), stringify(metadata, { version: '1.1' }), { mode: 0o644 });
      const parts: ArchivePart[] = [{ path: join(work, 'metadata.yaml'), name: 'metadata.yaml' }];
      for (const directory of ['rootfs', 'templates']) {
        const about = await lstat(join(view.path, directory)).catch(() => undefined);
        if (about?.isDirectory()) parts.push({ path: join(view.path, directory), name: directory });
      }
      const tar = streamArchive(parts, () => stack.disposeAsync());
      const abort = (): void => void tar.destroy(fault.unavailable('Publishing was cancelled'));
      if (signal.aborted) abort();
      signal.addEventListener('abort', abort, { once: true });
      tar.once('close', () => signal.removeEventListener('abort', abort));
      return { tar, architecture: String(metadata['architecture']), type: record.type, properties: metadata['properties'] as Record<string, string> };
    } catch (error) {
      await stack.disposeAsync();
      throw error;
    }
  }

  /** The instance's own metadata.yaml, where it came with one, with the request's properties instead of its own where there are any. */
  async #metadata(path: string, record: InstanceRecord, properties: Record<string, string>, expiresAt: string): Promise<Record<string, unknown>> {
    const own = await readMetadata(path);
    const expiry = expiresAt === '' ? 0 : Math.floor(Date.parse(expiresAt) / 1000);
    return {
      architecture: record.architecture,
      ...own,
      creation_date: Math.floor(this.context.clock.now().getTime() / 1000),
      ...(expiry > 0 ? { expiry_date: expiry } : {}),
      properties: Object.keys(properties).length > 0 ? properties : ((own['properties'] as Record<string, string> | undefined) ?? {}),
      templates: own['templates'] ?? {},
    };
  }
}

/** It lies beside the root file system, where the container does not come; still no link is followed. */
async function readMetadata(path: string): Promise<Record<string, unknown>> {
  using root = RootDir.open(path);
  const bytes = await root.readFile('metadata.yaml', metadataMaxBytes).catch(() => undefined);
  const value: unknown = bytes === undefined ? {} : parse(bytes.toString('utf8'), { maxAliasCount: 100 });
  return value !== null && typeof value === 'object' && !Array.isArray(value) ? { ...value } : {};
}
