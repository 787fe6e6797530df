import type { HostContext } from '#members';
import { ServerAgentService } from '#members';
import { runLocalSql } from './local-sql.js';
import { MemberConfigStore } from './member-config.js';
import { machineAddresses } from './addresses.js';
import { environment, type Environment } from './environment.js';
import { MetricsRegistry, type MetricsSource } from './metrics.js';
import type { Config } from '../model/index.js';
import { resources } from './resources/index.js';

/** What a higher subject knows of the environment: the storage drivers and those in use, the drivers of instances. */
export type EnvironmentPart = () => Partial<Environment> | Promise<Partial<Environment>>;

/** Moves what the member's own configuration says where to be. Before the configuration changes; what throws refuses it. */
export type MemberConfigFollower = (before: Config, after: Config) => Promise<void>;

export interface ServerHostOptions {
  configFollower?: MemberConfigFollower;
  environment?: readonly EnvironmentPart[];
  metrics?: readonly MetricsSource[];
}

/** This member's own side of the server: its configuration, its machine, its metrics. */
export class ServerHost {
  readonly config: MemberConfigStore;

  constructor(context: HostContext, options: ServerHostOptions = {}) {
    const { local, members, server, clock } = context;
    this.config = new MemberConfigStore(local);
    const metrics = new MetricsRegistry(options.metrics ?? []);
    members.serve(ServerAgentService, {
      environment: async () => ({ environment: { ...(await environment(server, options.environment ?? [])) }, addresses: machineAddresses() }),
      resources: async () => ({ resources: resources() }),
      config: async () => ({ config: this.config.read() }),
      setConfig: async ({ config }) => {
        await options.configFollower?.(this.config.read(), config);
        this.config.replace(config);
        return {};
      },
      metrics: async ({ projects, restricted }) => ({
        text: await metrics.text({
          ...(restricted || projects.length > 0 ? { projects } : {}),
          server: !restricted,
          upSeconds: (clock.now().getTime() - server.startedAt.getTime()) / 1000,
        }),
      }),
      localSql: async ({ query, schemaOnly }) => runLocalSql(local, server, query, schemaOnly),
    });
  }
}
