import type { CommandContext } from '#replica/state';

/**
 * What a higher subject has to say when a member leaves, inside of the command that removes it: it throws a Fault if the member still has
 * something that would be lost (unless `force`), and removes its own rows about that member.
 */
export type MemberRemovalStep = (ctx: CommandContext, leaving: { id: number; name: string; force: boolean }) => void;

const steps: MemberRemovalStep[] = [];

/** Called by the modules that compose the schema, before any command runs. */
export function onMemberRemoval(step: MemberRemovalStep): void {
  steps.push(step);
}

export function runRemovalSteps(ctx: CommandContext, leaving: { id: number; name: string; force: boolean }): void {
  for (const step of steps) step(ctx, leaving);
}
