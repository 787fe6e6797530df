/** Muster's own version. What clients are told as `server_version` is the LXD release whose API it speaks. */
export const version = '0.1.0';
