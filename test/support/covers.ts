/** Names the API extensions that a case is the proof of. `extensions.it.ts` reads these calls: an advertised extension without one fails. */
export function covers(..._extensions: string[]): void {}
