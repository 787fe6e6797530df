import type { Reader } from '#replica/state';

/** What is about to come to a project beside what the database has of it. */
export interface Addition {
  imageBytes?: number;
}

/** Whether a project is within what its config allows. @throws Fault, in LXD's words */
export type ProjectCheck = (reader: Reader, project: string, adding: Addition) => void;

const checks: ProjectCheck[] = [];

/** Called once, when the module of a higher subject's state wing loads: it knows what counts. */
export function onProjectCheck(check: ProjectCheck): void {
  checks.push(check);
}

/** Asked inside the command that changes the project or what is in it, after the change, so that no two can pass together. @throws Fault */
export function checkProject(reader: Reader, project: string, adding: Addition = {}): void {
  for (const check of checks) check(reader, project, adding);
}
