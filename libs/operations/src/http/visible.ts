import { type Caller, mayTouch } from '#http-kit';

/** Whether a caller may see what belongs to a project; '' is the server as a whole, for unrestricted callers only. */
export function maySee(caller: Caller, project: string): boolean {
  return caller.admin || (project !== '' && mayTouch(caller, project));
}
