import type { BeliefsReply } from '#members';
import { raftRole, shownRoles, type RaftMembers } from '../model/index.js';
import type { GroupRecord, MemberRecord } from '../state/index.js';

export interface ClusterMemberDocument {
  server_name: string;
  url: string;
  database: boolean;
  status: 'Online' | 'Offline' | 'Evacuated' | 'Blocked';
  message: string;
  architecture: string;
  roles: string[];
  failure_domain: string;
  description: string;
  config: Record<string, string>;
  groups: string[];
}

/** What a member is, as this one sees it. */
export interface View {
  beliefs: BeliefsReply;
  configuration: RaftMembers;
  now: Date;
}

export function memberDocument(record: MemberRecord, { beliefs, configuration, now }: View): ClusterMemberDocument {
  const { id, name, address, architecture, roles, failureDomain, description, config, groups } = record;
  const role = raftRole(configuration, id);
  return {
    roles: shownRoles(roles, role, beliefs.leader === name),
    failure_domain: failureDomain,
    description,
    config,
    groups,
    server_name: name,
    url: `https://${address}`,
    database: role === 'voter' || role === 'learner',
    ...statusOf(record, beliefs, now),
    architecture,
  };
}

function statusOf({ name, state }: MemberRecord, { members }: BeliefsReply, now: Date): Pick<ClusterMemberDocument, 'status' | 'message'> {
  if (state === 'evacuated') return { status: 'Evacuated', message: 'Unavailable due to maintenance' };
  const belief = members.find((one) => one.name === name);
  if (!belief || belief.alive) return { status: 'Online', message: 'Fully operational' };
  const since = new Date(now.getTime() - belief.silentMs).toISOString();
  return { status: 'Offline', message: `No heartbeat for ${(belief.silentMs / 1000).toFixed(3)}s (${since})` };
}

export const groupDocument = ({ name, description, members }: GroupRecord) => ({ description, members, name });
