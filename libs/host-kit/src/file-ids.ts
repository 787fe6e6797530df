import { check, libc } from './libc.js';

const PR_GET_SECUREBITS = 27;
const PR_SET_SECUREBITS = 28;
const SECBIT_NO_SETUID_FIXUP = 1 << 2;

/**
 * Runs synchronous work during which the files that it makes belong to others than us, while we keep all our capabilities: the kernel takes new files of an
 * idmapped mount, or of a file system that a container mounted itself, only from ids that it knows (EOVERFLOW otherwise), and the host's root is none of them.
 * Only this thread is concerned, and nothing else runs in it meanwhile.
 */
export function withFileIds<T>(ids: { uid: number; gid: number }, work: () => T): T {
  const bits = check(libc.prctl(PR_GET_SECUREBITS, 0), 'prctl');
  // Without it the kernel takes the capabilities over files away together with the id.
  check(libc.prctl(PR_SET_SECUREBITS, bits | SECBIT_NO_SETUID_FIXUP), 'prctl');
  const before = { gid: libc.setfsgid(ids.gid), uid: libc.setfsuid(ids.uid) };
  try {
    return work();
  } finally {
    libc.setfsuid(before.uid);
    libc.setfsgid(before.gid);
    check(libc.prctl(PR_SET_SECUREBITS, bits), 'prctl');
  }
}
