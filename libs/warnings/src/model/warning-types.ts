/**
 * The kinds of warnings, by the code under which the database keeps them (as LXD's). Clients see and filter by the sentence; codes are never given
 * anew, new ones come last.
 */
export const warningTypes = {
  undefined: { code: 0, name: 'Undefined warning', severity: 'low' },
  missingCgroupBlkio: { code: 1, name: "Couldn't find the CGroup blkio", severity: 'low' },
  missingCgroupBlkioWeight: { code: 2, name: "Couldn't find the CGroup blkio.weight", severity: 'low' },
  missingCgroupCpu: { code: 3, name: "Couldn't find the CGroup CPU controller", severity: 'low' },
  missingCgroupCpuset: { code: 4, name: "Couldn't find the CGroup CPUset controller", severity: 'low' },
  missingCgroupCpuacct: { code: 5, name: "Couldn't find the CGroup CPUacct controller", severity: 'low' },
  missingCgroupDevices: { code: 6, name: "Couldn't find the CGroup devices controller", severity: 'low' },
  missingCgroupFreezer: { code: 7, name: "Couldn't find the CGroup freezer controller", severity: 'low' },
  missingCgroupHugetlb: { code: 8, name: "Couldn't find the CGroup hugetlb controller", severity: 'low' },
  missingCgroupMemory: { code: 9, name: "Couldn't find the CGroup memory controller", severity: 'low' },
  missingCgroupNetPrio: { code: 10, name: "Couldn't find the CGroup network priority controller", severity: 'low' },
  missingCgroupPids: { code: 11, name: "Couldn't find the CGroup pids controller", severity: 'low' },
  missingCgroupSwap: { code: 12, name: "Couldn't find the CGroup memory swap accounting", severity: 'low' },
  clusterTimeSkew: { code: 13, name: 'Time skew detected between leader and local', severity: 'low' },
  appArmorMissing: { code: 14, name: 'AppArmor support has been disabled', severity: 'low' },
  virtiofsdMissing: { code: 15, name: 'Missing virtiofsd', severity: 'low' },
  maasUnreachable: { code: 16, name: 'Unable to connect to MAAS', severity: 'low' },
  appArmorDisabledByRawDnsmasq: { code: 17, name: 'Skipping AppArmor for dnsmasq due to raw.dnsmasq being set', severity: 'low' },
  ipv6PrefixTooLarge: { code: 18, name: "IPv6 networks with a prefix larger than 64 aren't properly supported by dnsmasq", severity: 'low' },
  bridgeNetfilterOff: { code: 19, name: 'Proxy bridge netfilter not enabled', severity: 'low' },
  networkUnavailable: { code: 20, name: 'Network unavailable', severity: 'high' },
  memberOffline: { code: 21, name: 'Offline cluster member', severity: 'low' },
  autostartFailed: { code: 22, name: 'Failed to autostart instance', severity: 'low' },
  instanceTypeMissing: { code: 23, name: 'Instance type not operational', severity: 'low' },
  poolUnavailable: { code: 24, name: 'Storage pool unavailable', severity: 'high' },
} as const satisfies Record<string, { code: number; name: string; severity: WarningSeverity }>;

export type WarningType = keyof typeof warningTypes;
export type WarningSeverity = 'low' | 'moderate' | 'high';

const byCode = new Map<number, (typeof warningTypes)[WarningType]>(Object.values(warningTypes).map((type) => [type.code, type]));

/** Of a code from the database; one that a newer member wrote reads as undefined. */
export function warningTypeOf(code: number): { code: number; name: string; severity: WarningSeverity } {
  return byCode.get(code) ?? warningTypes.undefined;
}

export const isWarningCode = (code: number): boolean => byCode.has(code);

/** Codes of the database, as LXD's. */
export const warningStatus = { new: 1, acknowledged: 2, resolved: 3 } as const;
export type WarningStatus = keyof typeof warningStatus;

export function warningStatusOf(code: number): WarningStatus {
  return code === 2 ? 'acknowledged' : code === 3 ? 'resolved' : 'new';
}
