import { mkdir, readlink, rm, symlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { faultPoint } from '#kit';
import { instanceLinkPath, isInstanceVolume, snapshotsLinkPath, type VolumeRef } from '../model/index.js';

/** STATE/containers/[project_]NAME and STATE/snapshots/[project_]NAME: where people and tools look for an instance, whatever its pool. */
export class InstanceLinks {
  constructor(private readonly stateDir: string) {}

  async ensure(volume: VolumeRef, path: string): Promise<void> {
    if (isInstanceVolume(volume.type)) await link(instanceLinkPath(this.stateDir, volume), path);
  }

  async remove(volume: VolumeRef): Promise<void> {
    if (!isInstanceVolume(volume.type)) return;
    await rm(instanceLinkPath(this.stateDir, volume), { force: true });
    await rm(snapshotsLinkPath(this.stateDir, volume), { force: true });
  }

  /** The link to the snapshots' directory is there exactly while there are any. */
  async snapshots(volume: VolumeRef, directory: string, any: boolean): Promise<void> {
    if (!isInstanceVolume(volume.type)) return;
    const path = snapshotsLinkPath(this.stateDir, volume);
    if (any) await link(path, directory);
    else await rm(path, { force: true });
  }
}

async function link(path: string, target: string): Promise<void> {
  if ((await readlink(path).catch(() => undefined)) === target) return;
  await mkdir(dirname(path), { recursive: true, mode: 0o711 });
  await rm(path, { force: true });
  await symlink(target, path);
  faultPoint(`linked: ${path}`);
}
