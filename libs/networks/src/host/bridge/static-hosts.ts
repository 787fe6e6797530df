import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ConfigMap } from '#api-contract';
import { parseAddress } from '../../model/index.js';

/** Which nic an entry belongs to. */
export interface NicKey {
  project: string;
  instance: string;
  device: string;
}

/** What the DHCP service knows of one nic beforehand. */
export interface StaticHost extends NicKey {
  hwaddr: string;
  ipv4?: string;
  ipv6?: string;
}

/**
 * The directory dnsmasq.hosts of a network: one file a nic, `[project_]instance.device`, as LXD keeps it. It is the memory of what was promised, too:
 * leases and filters read it. dnsmasq reads it anew on SIGHUP.
 */
export class StaticHosts {
  constructor(private readonly dir: string) {}

  /** Writes the entry of a nic; true when something changed. */
  set(host: StaticHost, config: ConfigMap): boolean {
    mkdirSync(this.dir, { recursive: true, mode: 0o755 });
    const path = join(this.dir, fileOf(host));
    const line = hostLine(host, config);
    if (contentOf(path) === line) return false;
    // dnsmasq must never see half a line. It passes over names that begin with a dot.
    const temporary = join(this.dir, `.${fileOf(host)}`);
    writeFileSync(temporary, line, { mode: 0o644 });
    renameSync(temporary, path);
    return true;
  }

  /** True when there was one. */
  remove(key: NicKey): boolean {
    const path = join(this.dir, fileOf(key));
    if (contentOf(path) === undefined) return false;
    rmSync(path, { force: true });
    return true;
  }

  get(key: NicKey): StaticHost | undefined {
    const content = contentOf(join(this.dir, fileOf(key)));
    return content === undefined ? undefined : parseHost(fileOf(key), content);
  }

  all(): StaticHost[] {
    let files: string[];
    try {
      files = readdirSync(this.dir);
    } catch {
      return [];
    }
    return files.flatMap((file) => (file.startsWith('.') ? [] : (parseHost(file, contentOf(join(this.dir, file)) ?? '') ?? [])));
  }
}

function contentOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

/** Slashes of a device name become dashes, dashes are doubled: LXD's encoding. */
const encode = (name: string): string => name.replaceAll('-', '--').replaceAll('/', '-');
const decode = (name: string): string => name.replaceAll(/--|-/g, (found) => (found === '--' ? '-' : '/'));

const fileOf = ({ project, instance, device }: NicKey): string => `${project === 'default' ? '' : `${project}_`}${instance}.${encode(device)}`;

function hostLine(host: StaticHost, config: ConfigMap): string {
  const words = [host.hwaddr.toLowerCase()];
  if (host.ipv4) words.push(host.ipv4);
  if (host.ipv6) words.push(`[${host.ipv6}]`);
  if ((config['dns.mode'] || 'managed') === 'managed') words.push(host.project === 'default' ? host.instance : `${host.instance}.${host.project}`);
  // Nothing to promise: the line is kept as a comment, for whoever asks which MAC addresses belong to whom.
  return words.length === 1 ? `# ${words[0]}\n` : `${words.join(',')}\n`;
}

function parseHost(file: string, content: string): StaticHost | undefined {
  const [hwaddr, ...rest] = content.replace(/^#/, '').trim().split(',');
  const dot = file.indexOf('.');
  if (dot < 0 || !hwaddr || !/^[0-9a-f:]{17}$/.test(hwaddr)) return undefined;
  const owner = file.slice(0, dot);
  const underscore = owner.lastIndexOf('_');
  return {
    project: underscore < 0 ? 'default' : owner.slice(0, underscore),
    instance: owner.slice(underscore + 1),
    device: decode(file.slice(dot + 1)),
    hwaddr,
    ipv4: rest.find((word) => parseAddress(word)?.family === 4),
    ipv6: rest.find((word) => word.startsWith('['))?.slice(1, -1),
  };
}
