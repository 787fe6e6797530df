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

/** Keys that liblxc 5.0 knows; it refuses to start a container with any other, and so do we, when the key is set. A trailing dot: any tail. */
const known = [
  'lxc.apparmor.allow_incomplete lxc.apparmor.allow_nesting lxc.apparmor.profile lxc.apparmor.raw lxc.arch lxc.autodev lxc.autodev.tmpfs.size',
  'lxc.cap.drop lxc.cap.keep lxc.cgroup. lxc.cgroup2. lxc.console.buffer.size lxc.console.logfile lxc.console.path lxc.console.rotate lxc.console.size',
  'lxc.environment lxc.execute.cmd lxc.group lxc.hook.autodev lxc.hook.clone lxc.hook.destroy lxc.hook.mount lxc.hook.post-stop lxc.hook.pre-mount',
  'lxc.hook.pre-start lxc.hook.start lxc.hook.start-host lxc.hook.stop lxc.hook.version lxc.idmap lxc.include lxc.init.cmd lxc.init.cwd lxc.init.gid',
  'lxc.init.groups lxc.init.uid lxc.keyring.session lxc.log.level lxc.monitor.signal.pdeath lxc.monitor.unshare lxc.mount.auto lxc.mount.entry',
  'lxc.mount.fstab lxc.namespace.clone lxc.namespace.keep lxc.namespace.share. lxc.net. lxc.no_new_privs lxc.proc. lxc.pty.max lxc.rootfs.managed',
  'lxc.rootfs.mount lxc.rootfs.options lxc.rootfs.path lxc.sched.core lxc.seccomp.allow_nesting lxc.seccomp.notify.cookie lxc.seccomp.notify.proxy',
  'lxc.seccomp.profile lxc.selinux.context lxc.selinux.context.keyring lxc.signal.halt lxc.signal.reboot lxc.signal.stop lxc.start.auto lxc.start.delay',
  'lxc.start.order lxc.sysctl. lxc.time.offset.boot lxc.time.offset.monotonic lxc.tty.dir lxc.tty.max lxc.uts.name',
].flatMap((line) => line.split(' '));
const isKnown = (key: string): boolean =>
  known.some((name) => (name.endsWith('.') ? key.startsWith(name) && key.length > name.length : key === name));

/** What the server must keep in its own hands, and what liblxc does not know. @throws Fault invalid */
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
    if (!isKnown(key)) throw fault.invalid(`Invalid raw.lxc: liblxc has no key ${key}`);
  }
}
