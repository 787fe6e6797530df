/** A rule was broken: what a simulation looks for. */
export class Violation extends Error {
  constructor(
    /** Names the rule, the same for every run that breaks it: a shrunk run must break the same one. */
    readonly rule: string,
    readonly detail: string = '',
  ) {
    super(detail ? `${rule}: ${detail}` : rule);
    this.name = 'Violation';
  }
}

export function require(condition: boolean, rule: string, detail?: () => string): void {
  if (!condition) throw new Violation(rule, detail?.());
}
