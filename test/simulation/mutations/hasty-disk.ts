import type { Disk, DiskFile } from '#replica/engine';

/** A disk that says it is done, and is not. */
export function hasty(disk: Disk): Disk {
  const hastyFile = (file: DiskFile): DiskFile => ({
    sizeBytes: file.sizeBytes,
    read: (offset, lengthBytes) => file.read(offset, lengthBytes),
    write: (offset, bytes) => file.write(offset, bytes),
    sync: () => {},
    close: () => file.close(),
  });
  return {
    list: () => disk.list(),
    create: (name, sizeBytes) => hastyFile(disk.create(name, sizeBytes)),
    open: (name) => hastyFile(disk.open(name)),
    remove: (name) => disk.remove(name),
    syncDirectory: () => disk.syncDirectory(),
  };
}
