/** Muster's own version, and what clients are told as `server_version`. */
export const version = '0.1.0';
