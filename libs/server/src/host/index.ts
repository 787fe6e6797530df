export type { Environment } from './environment.js';
export { MemberConfigStore } from './member-config.js';
export type { MetricsScope, MetricsSource } from './metrics.js';
export { ServerHost, type EnvironmentPart, type ServerHostOptions } from './server-host.js';
