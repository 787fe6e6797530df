import { type ClusterIdentity, type Membership, streamFromMember } from '#cluster/host';
import type { ImageCopies } from '#images/host';
import type { HostContext } from '#members';

/** Images that other members have: asked of those that are alive, one after the other. */
export function imageCopies({ replica, members }: HostContext, identity: ClusterIdentity, membership: Membership): ImageCopies {
  return async (fingerprint, signal) => {
    const tls = identity.tls;
    if (!tls) return undefined;
    const row = replica.reader.get<{ project: string }>('SELECT project FROM images WHERE fingerprint = ? LIMIT 1', fingerprint);
    const holders = replica.reader.all<{ id: number }>('SELECT member_id AS id FROM images_members WHERE fingerprint = ?', fingerprint);
    const alive = new Set(members.others());
    for (const { id } of holders) {
      const holder = membership.byId(id);
      if (!row || !holder || !alive.has(holder.name)) continue;
      const response = await streamFromMember(
        holder.address,
        `/1.0/images/${fingerprint}/export?project=${encodeURIComponent(row.project)}`,
        tls,
        signal,
      ).catch(() => undefined);
      if (response?.statusCode === 200) return response;
      response?.destroy();
    }
    return undefined;
  };
}
