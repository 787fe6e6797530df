import type { ProfilePut } from '#api-contract';
import type { CallContext } from '#members';
import type { Reader } from '#replica/state';

/** Nest token of ProfileRules. */
export const PROFILE_RULES = Symbol('profile-rules');

/** What profiles must know of instances and devices, which stand above them; the gateway brings it. */
export interface ProfileRules {
  /** Config keys, devices, pools and networks. @throws Fault invalid */
  check(reader: Reader, project: string, put: ProfilePut): void;
  /** Before a change is made: whether instances that use the profile allow it (their root disk's pool). @throws Fault invalid */
  checkChange(reader: Reader, project: string, name: string, before: ProfilePut, after: ProfilePut): void;
  /** After it was made: running instances are told, on every member. @throws Fault that names those that could not follow */
  changed(project: string, name: string, before: ProfilePut, context: CallContext): Promise<void>;
}
