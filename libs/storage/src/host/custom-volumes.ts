import { Undo, fault, parseSize } from '#kit';
import type { CallContext, HostContext } from '#members';
import type { SubmitOptions } from '#replica';
import { checkEtag } from '#api-contract';
import { type ContentType, checkVolumeConfig, checkVolumeName, expiryOf, withIdmapOf, type VolumeRef } from '../model/index.js';
import * as state from '../state/index.js';
import type { Intents } from './intents.js';
import type { LocalStorage } from './local-storage.js';

export interface NewCustomVolume extends VolumeRef {
  contentType: ContentType;
  description: string;
  config: Record<string, string>;
}

export interface CopySource {
  from: VolumeRef;
  /** Not the volume as it is, but this snapshot of it; then `snapshots` says nothing. */
  snapshot?: string;
  snapshots: boolean;
}

/** Custom volumes of this member: rows and bytes together. Every call leaves both or neither. */
export class CustomVolumes {
  constructor(
    private readonly context: HostContext,
    private readonly storage: LocalStorage,
    private readonly intents: Intents,
  ) {}

  /** Empty. @throws Fault conflict (409) */
  async create(given: NewCustomVolume, call: CallContext): Promise<void> {
    await this.#make(given, {}, call, (config) => this.storage.create(given, config, { kind: 'empty' }, call));
  }

  /** Of another volume of this member, in whatever pool and project; description and config are its own where the request says none. */
  async copy(
    given: Omit<NewCustomVolume, 'config' | 'contentType'> & { config?: Record<string, string> },
    source: CopySource,
    call: CallContext,
  ): Promise<void> {
    const volume = this.#row(source.from);
    const from = source.snapshot === undefined ? volume : { ...volume, ...state.snapshot(this.#reader, volume.id, source.snapshot), id: volume.id };
    const snapshots = source.snapshots && source.snapshot === undefined ? state.volumeSnapshots(this.#reader, from.id) : [];
    const wanted = {
      ...given,
      contentType: from.contentType,
      description: given.description || from.description,
      config: withIdmapOf(from.config, given.config ?? from.config),
    };
    const rows = snapshots.map(({ name, description, config, expiresAt }) => ({ name, description, config, expiresAt }));
    await this.#make(wanted, { snapshots: rows, dropUnknownKeys: given.config === undefined }, call, (config) =>
      this.storage.create(given, config, { kind: 'copy', ...source }, call),
    );
  }

  async #make(
    given: NewCustomVolume,
    extra: { snapshots?: { name: string; expiresAt: string }[]; dropUnknownKeys?: boolean },
    call: CallContext,
    bytes: (config: Record<string, string>) => Promise<void>,
  ): Promise<void> {
    const { pool, project, type, name, contentType, description, config } = given;
    const ref = { pool, project, type, name };
    await this.intents.during({ kind: 'create-custom', volume: ref }, async () => {
      await using undo = new Undo(this.context.log);
      const row = { ...ref, memberId: this.#memberId, contentType, description, config };
      await this.context.replica.submit(state.createVolume, { ...row, ...extra }, this.#as(call));
      undo.add('row', () => this.context.replica.submit(state.forgetVolume, { volume: ref, memberId: this.#memberId }, this.#as(call)));
      await bytes(this.#row(ref).config);
      undo.drop();
    });
  }

  async remove(ref: VolumeRef, call: CallContext): Promise<void> {
    const row = this.#row(ref);
    if (state.volumeUsedBy(this.#reader, row).length > 0) throw fault.invalid('The storage volume is still in use');
    this.#refuseMounted(ref, 'The storage volume is still in use');
    // The row first: from then on nobody can begin to use it, and bytes without a row are removed at the next start.
    await this.intents.during({ kind: 'remove-custom', volume: ref }, async () => {
      await this.context.replica.submit(state.deleteVolume, { volume: ref, memberId: this.#memberId }, this.#as(call));
      await this.storage.remove(ref);
    });
  }

  async rename(ref: VolumeRef, newName: string, call: CallContext): Promise<void> {
    state.checkMovable(this.#reader, this.#row(ref));
    checkVolumeName(newName);
    if (state.findVolume(this.#reader, { ...ref, name: newName }, this.#memberId)) throw fault.conflict('Volume by that name already exists');
    this.#refuseMounted(ref, 'Volume is still in use by running instances');
    await this.intents.during({ kind: 'rename-volume', volume: ref, newName }, async () => {
      await using undo = new Undo(this.context.log);
      await this.storage.rename(ref, newName);
      undo.add('bytes', () => this.storage.rename({ ...ref, name: newName }, ref.name));
      await this.context.replica.submit(state.renameCustomVolume, { volume: ref, newName, memberId: this.#memberId }, this.#as(call));
      undo.drop();
    });
  }

  /** To another pool or project of this member. Who uses it follows. */
  async move(from: VolumeRef, to: VolumeRef, call: CallContext): Promise<void> {
    this.#refuseMounted(from, 'Volume is still in use by running instances');
    state.checkMovable(this.#reader, this.#row(from));
    await this.copy({ ...to, description: '' }, { from, snapshots: true }, call);
    await this.intents.during({ kind: 'remove-custom', volume: from }, async () => {
      await using undo = new Undo(this.context.log);
      undo.add('copy', () => this.remove(to, call));
      await this.context.replica.submit(state.moveVolume, { from, to, memberId: this.#memberId }, this.#as(call));
      undo.drop();
      await this.storage.remove(from);
    });
  }

  /** What changes on disk changes first, and back if the row is refused. */
  async change(
    ref: VolumeRef,
    put: { description: string; config: Record<string, string> },
    ifMatch: string | undefined,
    call: CallContext,
  ): Promise<void> {
    const before = this.#row(ref);
    checkEtag(ifMatch, state.volumeEtag(before));
    checkVolumeConfig(state.pool(this.#reader, ref.pool).driver, put.config, before.type, before.contentType);
    if (before.config['security.shifted'] !== put.config['security.shifted'])
      this.#refuseMounted(ref, 'Cannot modify shifting with running instances using the volume');
    await using undo = new Undo(this.context.log);
    const [sizeBefore, size] = [before.config['size'] ?? '', put.config['size'] ?? ''].map(parseSize) as [number, number];
    if (size !== sizeBefore) {
      await this.storage.setQuota(ref, size);
      undo.add('quota', () => this.storage.setQuota(ref, sizeBefore));
    }
    const kept = { ...put, config: withIdmapOf(before.config, put.config) };
    await this.context.replica.submit(state.changeVolume, { volume: ref, memberId: this.#memberId, put: kept, ifMatch }, this.#as(call));
    undo.drop();
  }

  async snapshot(ref: VolumeRef, name: string, expiresAt: Date | undefined, call: CallContext): Promise<void> {
    const parent = this.#row(ref);
    if (state.findSnapshot(this.#reader, parent.id, name)) throw fault.conflict(`Snapshot "${name}" already in use`);
    await this.intents.during({ kind: 'custom-snapshot', volume: ref, snapshot: name }, async () => {
      await using undo = new Undo(this.context.log);
      await this.storage.snapshot(ref, name);
      undo.add('snapshot', () => this.storage.removeSnapshot(ref, name));
      const payload = { volume: ref, memberId: this.#memberId, name, expiresAt: expiresAt?.toISOString() ?? '' };
      await this.context.replica.submit(state.createSnapshot, payload, this.#as(call));
      undo.drop();
    });
  }

  /** When a snapshot taken now ends, as the volume says. */
  expiryFor(ref: VolumeRef): Date | undefined {
    return expiryOf(this.#row(ref).config['snapshots.expiry'] ?? '', this.context.clock.now());
  }

  async removeSnapshot(ref: VolumeRef, name: string, call: CallContext): Promise<void> {
    state.snapshot(this.#reader, this.#row(ref).id, name);
    await this.storage.removeSnapshot(ref, name);
    await this.context.replica.submit(state.deleteSnapshot, { volume: ref, memberId: this.#memberId, name }, this.#as(call));
  }

  async renameSnapshot(ref: VolumeRef, name: string, newName: string, call: CallContext): Promise<void> {
    const parent = this.#row(ref);
    state.snapshot(this.#reader, parent.id, name);
    checkVolumeName(newName);
    if (state.findSnapshot(this.#reader, parent.id, newName)) throw fault.conflict(`Snapshot "${newName}" already in use`);
    await using undo = new Undo(this.context.log);
    await this.storage.renameSnapshot(ref, name, newName);
    undo.add('snapshot', () => this.storage.renameSnapshot(ref, newName, name));
    await this.context.replica.submit(state.renameSnapshot, { volume: ref, memberId: this.#memberId, name, newName }, this.#as(call));
    undo.drop();
  }

  async restore(ref: VolumeRef, snapshot: string, call: CallContext): Promise<void> {
    state.snapshot(this.#reader, this.#row(ref).id, snapshot);
    this.#refuseMounted(ref, 'Cannot restore custom volume used by running instances');
    await this.storage.restore(ref, snapshot);
    await this.context.replica.submit(state.restoredVolume, { volume: ref, snapshot, memberId: this.#memberId }, this.#as(call));
  }

  /** Makes an existing copy equal to its source again: its contents, and its set of snapshots. */
  async refresh(ref: VolumeRef, source: CopySource, call: CallContext): Promise<void> {
    this.#row(ref);
    this.#refuseMounted(ref, 'Volume is still in use by running instances');
    await this.storage.refresh(ref, source.from);
    const { config } = this.#row(source.from);
    const idmap = config['volatile.idmap.last'] ?? '[]';
    if (idmap !== (this.#row(ref).config['volatile.idmap.last'] ?? '[]'))
      await this.context.replica.submit(state.recordVolumeIdmap, { volume: ref, memberId: this.#memberId, idmap }, this.#as(call));
    if (!source.snapshots) return;
    const [mine, theirs] = [ref, source.from].map((which) => state.volumeSnapshots(this.#reader, this.#row(which).id)) as [
      state.SnapshotRecord[],
      state.SnapshotRecord[],
    ];
    for (const { name } of mine) if (!theirs.some((other) => other.name === name)) await this.removeSnapshot(ref, name, call);
    for (const { name, description, config, expiresAt } of theirs) {
      if (mine.some((other) => other.name === name)) continue;
      await this.storage.copySnapshot(source.from, name, ref);
      const payload = { volume: ref, memberId: this.#memberId, name, description, config, expiresAt };
      await this.context.replica.submit(state.createSnapshot, payload, this.#as(call));
    }
  }

  get #reader() {
    return this.context.replica.reader;
  }

  get #memberId(): number {
    return this.context.server.memberId;
  }

  #as({ identity, requestId }: CallContext): SubmitOptions {
    return { identity, requestId };
  }

  #row(ref: VolumeRef): state.VolumeRecord {
    return state.volume(this.#reader, ref, this.#memberId);
  }

  /** What is mounted is in use by a running instance. */
  #refuseMounted(ref: VolumeRef, message: string): void {
    if (this.storage.isMounted(ref)) throw fault.invalid(message);
  }
}
