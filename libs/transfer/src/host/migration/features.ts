import { fault } from '#kit';
import { type MigrationHeader, type MigrationRsyncFeatures, MigrationTransport } from '#members';

/** What an rsync of a migration may use. */
export interface RsyncFeatures {
  xattrs: boolean;
  delete: boolean;
  compress: boolean;
}

/** What this server offers for a volume of files. */
export const offered = (compress: boolean): MigrationRsyncFeatures => ({ xattrs: true, delete: true, compress, bidirectional: true });

/** An empty header of that kind, to be filled. */
export const header = (rsyncFeatures: MigrationRsyncFeatures): MigrationHeader => ({
  transport: MigrationTransport.RSYNC,
  rsyncFeatures,
  idmap: [],
  snapshotNames: [],
  snapshots: [],
});

/**
 * What both sides can: rsync is what every server falls back to for files, whatever else it would rather have.
 * @throws Fault unsupported when the other side has a block device to give or to take
 */
export function agreed(theirs: MigrationHeader, compress: boolean): RsyncFeatures {
  if (theirs.transport === MigrationTransport.BLOCK_AND_RSYNC || theirs.transport === MigrationTransport.RBD)
    throw fault.unsupported('No matching migration types found', { status: 500 });
  const { rsyncFeatures } = theirs;
  // A server that does not say what it uses is as old as LXD 3.7, and uses all three.
  if (!rsyncFeatures?.bidirectional) return { xattrs: true, delete: true, compress };
  return { xattrs: rsyncFeatures.xattrs === true, delete: rsyncFeatures.delete === true, compress: compress && rsyncFeatures.compress === true };
}

/** Arguments of rsync for them; both sides must say the same. */
export const rsyncArguments = ({ xattrs, delete: remove, compress }: RsyncFeatures): string[] => [
  ...(xattrs ? ['--xattrs', '--filter=-x security.selinux'] : []),
  ...(remove ? ['--delete'] : []),
  ...(compress ? ['--compress', '--compress-level=2'] : []),
];
