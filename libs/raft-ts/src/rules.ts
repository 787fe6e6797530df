/** Placeholder for the first commit of the face; see DESIGN.md. */
export interface Rules {
  readonly commitsByCount: (entryTerm: number, currentTerm: number) => boolean;
}
