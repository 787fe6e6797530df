/** Documents of the REST API, as LXD 5.0.2 sends and takes them (`*Put`: what PUT takes). Times are RFC 3339. */
export type ConfigMap = Record<string, string>;
export type DevicesMap = Record<string, Record<string, string>>;

/** The zero time, as Go prints it: "never". */
export const zeroTime = '0001-01-01T00:00:00Z';
/** An image's expiry and an instance's last use, when unset. */
export const epoch = '1970-01-01T00:00:00Z';

export type InstanceType = 'container' | 'virtual-machine';

export interface InstancePut {
  architecture: string;
  config: ConfigMap;
  devices: DevicesMap;
  ephemeral: boolean;
  profiles: string[];
  stateful: boolean;
  description: string;
  /** Name of a snapshot to go back to. */
  restore?: string;
}

export interface Instance extends Omit<InstancePut, 'restore'> {
  created_at: string;
  expanded_config: ConfigMap;
  expanded_devices: DevicesMap;
  name: string;
  status: string;
  status_code: number;
  last_used_at: string;
  location: string;
  type: InstanceType;
  project: string;
}

export interface InstanceSource {
  type: 'image' | 'none' | 'copy' | 'migration' | '';
  alias?: string;
  fingerprint?: string;
  properties?: Record<string, string>;
  server?: string;
  protocol?: string;
  secret?: string;
  certificate?: string;
  mode?: string;
  operation?: string;
  secrets?: Record<string, string>;
  source?: string;
  project?: string;
  live?: boolean;
  instance_only?: boolean;
  container_only?: boolean;
  refresh?: boolean;
  base_image?: string;
  allow_inconsistent?: boolean;
}

export interface InstancesPost extends InstancePut {
  name: string;
  source: InstanceSource;
  instance_type: string;
  type: InstanceType;
}

export interface InstanceStatePut {
  action: string;
  timeout: number;
  force: boolean;
  stateful: boolean;
}

export interface NetworkAddress {
  family: string;
  address: string;
  netmask: string;
  scope: string;
}

export interface InstanceNetworkState {
  addresses: NetworkAddress[];
  counters: {
    bytes_received: number;
    bytes_sent: number;
    packets_received: number;
    packets_sent: number;
    errors_received: number;
    errors_sent: number;
    packets_dropped_outbound: number;
    packets_dropped_inbound: number;
  };
  hwaddr: string;
  host_name: string;
  mtu: number;
  state: string;
  type: string;
}

export interface InstanceState {
  status: string;
  status_code: number;
  disk: Record<string, { usage: number }> | null;
  memory: { usage: number; usage_peak: number; swap_usage: number; swap_usage_peak: number };
  network: Record<string, InstanceNetworkState> | null;
  pid: number;
  processes: number;
  cpu: { usage: number };
}

export interface InstanceSnapshot {
  expires_at: string;
  architecture: string;
  config: ConfigMap;
  created_at: string;
  devices: DevicesMap;
  ephemeral: boolean;
  expanded_config?: ConfigMap;
  expanded_devices: DevicesMap;
  last_used_at: string;
  name: string;
  profiles: string[];
  stateful: boolean;
  size: number;
}

export interface ProfilePut {
  config: ConfigMap;
  description: string;
  devices: DevicesMap;
}

export interface Profile extends ProfilePut {
  name: string;
  used_by: string[];
}

export interface ProjectPut {
  config: ConfigMap;
  description: string;
}

export interface Project extends ProjectPut {
  name: string;
  used_by: string[];
}

export interface StoragePool {
  config: ConfigMap;
  description: string;
  name: string;
  driver: string;
  used_by: string[] | null;
  status: string;
  locations: string[];
}

export interface StorageVolume {
  config: ConfigMap;
  description: string;
  name: string;
  type: string;
  used_by: string[];
  location: string;
  content_type: string;
  project: string;
  created_at: string;
}

export interface Network {
  config: ConfigMap;
  description: string;
  name: string;
  type: string;
  used_by: string[] | null;
  managed: boolean;
  status: string;
  locations: string[] | null;
}

export interface ImagePut {
  auto_update: boolean;
  properties: Record<string, string>;
  public: boolean;
  expires_at: string;
  profiles: string[];
}

export interface Image extends ImagePut {
  aliases: { name: string; description: string }[];
  architecture: string;
  cached: boolean;
  filename: string;
  fingerprint: string;
  size: number;
  type: string;
  created_at: string;
  last_used_at: string;
  uploaded_at: string;
  update_source?: { alias: string; certificate: string; protocol: string; server: string; image_type: string };
}

export interface Certificate {
  name: string;
  type: string;
  restricted: boolean;
  projects: string[];
  certificate: string;
  fingerprint: string;
}
