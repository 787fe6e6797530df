/** Room in a socket address after its leading NUL. */
const roomBytes = 106;

/**
 * Name (without the leading NUL) of the abstract socket on which a container's monitor listens, as liblxc makes it: path and name, or their FNV-1a hash
 * where they are too long (commands_utils.c of LXC 5.0).
 */
export function commandSocketName(lxcPath: string, name: string): string {
  const plain = `${lxcPath}/${name}/command`;
  if (Buffer.byteLength(plain) <= roomBytes) return plain;
  return `lxc/${fnv1a64(`${lxcPath}/${name}`).toString(16).padStart(16, '0')}/command`;
}

function fnv1a64(text: string): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(text)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash;
}
