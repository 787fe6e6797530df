import { fault } from '#kit';

/** Kernel names of machines, and what else they are called. */
const aliases: Record<string, readonly string[]> = {
  i686: ['i386', 'i586', '386', 'x86', 'generic_32'],
  x86_64: ['amd64', 'generic_64'],
  armv6l: ['armel', 'arm'],
  armv7l: ['armhf', 'armhfp', 'armv7a_hardfp', 'armv7', 'armv7a_vfpv3_hardfp'],
  armv8l: [],
  aarch64: ['arm64', 'arm64_generic'],
  ppc: ['powerpc'],
  ppc64: ['powerpc64'],
  ppc64le: ['ppc64el'],
  s390x: [],
  mips: ['mipsel'],
  mips64: ['mips64el'],
  riscv32: [],
  riscv64: [],
};

/** A machine's own architecture and those it also runs. */
const alsoRuns: Record<string, readonly string[]> = {
  x86_64: ['i686'],
  armv7l: ['armv6l'],
  armv8l: ['armv6l', 'armv7l'],
  aarch64: ['armv6l', 'armv7l', 'armv8l'],
  ppc64: ['ppc'],
  mips64: ['mips'],
};

/** 'amd64' → 'x86_64'. @throws Fault invalid */
export function architectureName(text: string): string {
  if (text in aliases) return text;
  const found = Object.entries(aliases).find(([, others]) => others.includes(text));
  if (!found) throw fault.invalid(`Architecture isn't supported: ${text}`);
  return found[0];
}

/** Of what Node calls the processor ('x64', 'arm64'): its own first. */
export function architecturesOf(processor: string): string[] {
  const own =
    { x64: 'x86_64', ia32: 'i686', arm64: 'aarch64', arm: 'armv7l', ppc64: 'ppc64le', s390x: 's390x', riscv64: 'riscv64' }[processor] ?? processor;
  return [own, ...(alsoRuns[own] ?? [])];
}
