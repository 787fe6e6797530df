import { fault } from '#kit';

/**
 * Lines of raw.lxc as [key, value]; comments and blank lines are left out.
 * @throws Fault invalid for a line without '='
 */
export function parseRawLxc(text: string): [key: string, value: string][] {
  const entries: [string, string][] = [];
  for (const raw of text.split('\n')) {
    const line = raw.replace(/^[\t ]+/, '');
    if (line === '' || line.startsWith('#')) continue;
    const at = line.indexOf('=');
    if (at < 0) throw fault.invalid(`Invalid raw.lxc line: ${line}`);
    entries.push([trim(line.slice(0, at)).toLowerCase(), trim(line.slice(at + 1))]);
  }
  return entries;
}

const trim = (text: string): string => text.replace(/^[\t ]+|[\t \r]+$/g, '');

/** What the server must keep in its own hands. @throws Fault invalid */
export function checkRawLxc(text: string): void {
  for (const [key] of parseRawLxc(text)) {
    if (key === 'lxc.logfile' || key === 'lxc.log.file') throw fault.invalid('Setting lxc.logfile is not allowed');
    if (key === 'lxc.syslog' || key === 'lxc.log.syslog') throw fault.invalid('Setting lxc.log.syslog is not allowed');
    if (key === 'lxc.ephemeral') throw fault.invalid('Setting lxc.ephemeral is not allowed');
    if (key.startsWith('lxc.prlimit.')) {
      throw fault.invalid('Process limits should be set via "limits.kernel.[limit name]" and not directly via "lxc.prlimit.[limit name]"');
    }
    if (key.startsWith('lxc.net.') && !/^lxc\.net\.[^.]*\.ipv[46]\.(address|gateway)$/.test(key)) {
      throw fault.invalid('Only interface-specific ipv4/ipv6 lxc.net. keys are allowed');
    }
  }
}
