/** LXD's text of a transfer: '45% (12.3MB/s)', or '123.4MB (12.3MB/s)' while the whole is not known. At most a few times a second. */
export class Progress {
  readonly #startedMs = performance.now();
  #toldMs = -Infinity;

  constructor(
    private readonly tell: (text: string) => void,
    private readonly totalBytes?: number,
  ) {}

  /** So many bytes are through. */
  at(bytes: number): void {
    const now = performance.now();
    if (now - this.#toldMs < 300) return;
    this.#toldMs = now;
    const speed = `${human(bytes / Math.max(0.001, (now - this.#startedMs) / 1000))}/s`;
    this.tell(this.totalBytes ? `${Math.floor((100 * bytes) / this.totalBytes)}% (${speed})` : `${human(bytes)} (${speed})`);
  }
}

function human(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value.toFixed(2)}${units[unit]}`;
}
