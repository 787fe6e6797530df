import type { ClusterHooks } from '#cluster/host';
import { fault } from '#kit';
import { type HostContext, InstancesAgentService } from '#members';
import { joinNetworks } from '#networks/state';
import { memberPoolKeys } from '#storage/model';
import { pools } from '#storage/state';
import type { StorageAgent } from '#storage/host';

const stopSeconds = 30;

/** What coming into a cluster, and being emptied, mean for pools, networks and instances. */
export function clusterHooks({ replica, server, members }: HostContext, storage: StorageAgent): ClusterHooks {
  /** Of all instances of this member, one after the other, in every project. */
  const states = async (action: 'stop' | 'start', call: Parameters<ClusterHooks['restore']>[0], progress: (text: string) => void): Promise<void> => {
    const rows = replica.reader.all<{ project: string; name: string; status: number; config: string }>(
      'SELECT project, name, status, config FROM instances WHERE member_id = ? ORDER BY id',
      server.memberId,
    );
    const wasRunning = ({ config }: { config: string }): boolean =>
      (JSON.parse(config) as Record<string, string>)['volatile.last_state.power'] === 'RUNNING';
    const wanted = rows.filter((row) => (action === 'stop' ? row.status === 103 : row.status !== 103 && wasRunning(row)));
    for (const { project, name } of wanted) {
      progress(`${action === 'stop' ? 'Stopping' : 'Starting'} "${name}" in project "${project}"`);
      const put = { action, timeout: stopSeconds, force: false, stateful: false };
      await members.calls(InstancesAgentService).changeInstanceState({ instance: { project, name }, put }, call);
    }
  };
  return {
    checkEmpty(reader) {
      const found = ['instances', 'storage_pools', 'networks', 'images'].find((table) => reader.get(`SELECT 1 FROM ${table} LIMIT 1`));
      if (found) throw fault.invalid(`This server still has ${found.replace('_', ' ')}: all of its data would be lost by joining a cluster`);
    },
    async realise(config, call) {
      const of = (entity: string, name: string): Record<string, string> =>
        Object.fromEntries(config.filter((key) => key.entity === entity && key.name === name).map(({ key, value }) => [key, value]));
      for (const { name } of pools(replica.reader).filter(({ state }) => state === 'created')) {
        const own = Object.entries(of('storage-pool', name)).filter(([key, value]) => memberPoolKeys.includes(key) && value !== '');
        await storage.joinPool(name, Object.fromEntries(own), call);
      }
      const names = new Set(config.filter(({ entity }) => entity === 'network').map(({ name }) => name));
      const own = [...names].map((name) => ({ name, config: of('network', name) }));
      await replica.submit(joinNetworks, { member: server.memberId, own }, { identity: call.identity, requestId: call.requestId });
    },
    async dismantle() {
      for (const { name } of pools(replica.reader)) await storage.leavePool(name);
    },
    evacuate: (_mode, call, progress) => states('stop', call, progress),
    restore: (call, progress) => states('start', call, progress),
  };
}
