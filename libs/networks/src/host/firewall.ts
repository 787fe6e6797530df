import { isTrue } from '#config-keys';
import { applyNft } from '#host-kit';
import type { ConfigMap } from '#api-contract';
import { bridgeSubnet, dhcpSubnet, formatSubnet } from '../model/index.js';

/**
 * Our rules in nftables, in tables that only this daemon touches (`naming.nftTable`). Each network and each filtered nic has chains of its own, and a change
 * replaces the chains of one of them in one transaction: at no moment is a network without its rules, and nobody else's rules are read or written.
 */
export class Firewall {
  constructor(private readonly table: string) {}

  /** Makes the chains of a network what its config says. */
  async setNetwork(link: string, config: ConfigMap): Promise<void> {
    await this.#apply([...this.#emptied('inet', networkChains(link)), ...networkRules(this.table, link, config)]);
  }

  async removeNetwork(link: string): Promise<void> {
    await this.#apply(this.#emptied('inet', networkChains(link)));
  }

  /** Puts `rules`, lines of the body of a chain, before bridging and local delivery of what comes from a bridge port. */
  async setPort(label: string, rules: { input: readonly string[]; forward: readonly string[] }): Promise<void> {
    const chain = (name: string, hook: string, lines: readonly string[]): string[] => [
      `add chain bridge ${this.table} ${name} { type filter hook ${hook} priority -200; policy accept; }`,
      ...lines.map((line) => `add rule bridge ${this.table} ${name} ${line}`),
    ];
    await this.#apply([
      ...this.#emptied('bridge', portChains(label)),
      ...chain(`in.${label}`, 'input', rules.input),
      ...chain(`fwd.${label}`, 'forward', rules.forward),
    ]);
  }

  async removePort(label: string): Promise<void> {
    await this.#apply(this.#emptied('bridge', portChains(label)));
  }

  /** Drops what comes from an interface beyond a rate: for kernels whose `tc` cannot police. */
  async setRate(label: string, link: string, bytesPerSecond: number): Promise<void> {
    await this.#apply([
      ...this.#emptied('netdev', [`rate.${label}`]),
      `add chain netdev ${this.table} rate.${label} { type filter hook ingress device "${link}" priority 0; policy accept; }`,
      `add rule netdev ${this.table} rate.${label} limit rate over ${bytesPerSecond} bytes/second burst 1024 kbytes drop`,
    ]);
  }

  async removeRate(label: string): Promise<void> {
    await this.#apply(this.#emptied('netdev', [`rate.${label}`]));
  }

  /** Lines after which these chains are not there, whether they were or not. */
  #emptied(family: 'inet' | 'bridge' | 'netdev', chains: readonly string[]): string[] {
    return [
      `add table ${family} ${this.table}`,
      ...chains.flatMap((chain) => [
        `add chain ${family} ${this.table} ${chain}`,
        `flush chain ${family} ${this.table} ${chain}`,
        `delete chain ${family} ${this.table} ${chain}`,
      ]),
    ];
  }

  /** One transaction: all of it or nothing. */
  async #apply(lines: readonly string[]): Promise<void> {
    await applyNft(`${lines.join('\n')}\n`);
  }
}

const networkChains = (link: string): string[] => ['pstrt', 'fwd', 'in', 'out'].map((prefix) => `${prefix}.${link}`);
const portChains = (label: string): string[] => [`in.${label}`, `fwd.${label}`];

/** The chains of one network: source NAT, and accepting what a host with a strict policy in the same hooks would not have to look at again. */
export function networkRules(table: string, link: string, config: ConfigMap): string[] {
  const lines: string[] = [];
  const chain = (name: string, type: string, rules: readonly string[]): void => {
    if (rules.length === 0) return;
    lines.push(`add chain inet ${table} ${name}.${link} { ${type}; policy accept; }`);
    lines.push(...rules.map((rule) => `add rule inet ${table} ${name}.${link} ${rule}`));
  };
  const families = ([4, 6] as const).filter((family) => bridgeSubnet(config, family));
  const filtered = families.filter((family) => isTrue(config[`ipv${family}.firewall`], true));
  const nat = families.filter((family) => isTrue(config[`ipv${family}.nat`]));
  // A chain has one place: with both families, 'before' wins.
  const order = nat.some((family) => (config[`ipv${family}.nat.order`] ?? '') !== 'after') ? 100 : 110;
  chain(
    'pstrt',
    `type nat hook postrouting priority ${order}`,
    nat.map((family) => {
      const protocol = family === 4 ? 'ip' : 'ip6';
      const subnet = formatSubnet(bridgeSubnet(config, family)!);
      const source = config[`ipv${family}.nat.address`];
      return `${protocol} saddr ${subnet} ${protocol} daddr != ${subnet} ${source ? `snat ${protocol} to ${source}` : 'masquerade'}`;
    }),
  );
  chain(
    'fwd',
    'type filter hook forward priority 0',
    filtered.flatMap((family) => {
      // What may be forwarded is the config's to say; the sysctl alone is the whole host's.
      const verdict = isTrue(config[`ipv${family}.routing`], true) ? 'accept' : 'reject';
      return ['oifname', 'iifname'].map((side) => `meta nfproto ipv${family} ${side} "${link}" ${verdict}`);
    }),
  );
  const served = filtered.filter((family) => dhcpSubnet(config, family));
  const dns = (side: string, port: string): string[] => ['tcp', 'udp'].map((protocol) => `${side} "${link}" ${protocol} ${port} 53 accept`);
  const per = (side: string, port: string, icmp6: string): string[] =>
    served.flatMap((family) =>
      family === 4
        ? [`${side} "${link}" icmp type { 3, 11, 12 } accept`, `${side} "${link}" udp ${port} 67 accept`]
        : [`${side} "${link}" icmpv6 type { ${icmp6} } accept`, `${side} "${link}" udp ${port} 547 accept`],
    );
  if (served.length > 0) {
    chain('in', 'type filter hook input priority 0', [...dns('iifname', 'dport'), ...per('iifname', 'dport', '1, 2, 3, 4, 133, 135, 136, 143')]);
    chain('out', 'type filter hook output priority 0', [
      ...dns('oifname', 'sport'),
      ...per('oifname', 'sport', '1, 2, 3, 4, 128, 134, 135, 136, 143'),
    ]);
  }
  return lines;
}
