import { assert } from '#kit';
import type { CommandContext } from '#replica/state';
import type { FeatureName } from '../model/index.js';

/** What a higher subject does, in the same command, when a project gets or loses its feature (profiles make the project's default profile). */
export interface FeatureSteps {
  enabled(ctx: CommandContext, project: string): void | Promise<void>;
  disabled(ctx: CommandContext, project: string): void | Promise<void>;
}

const steps = new Map<FeatureName, FeatureSteps>();

/** Called once, when the module of the higher subject's state wing loads. */
export function onFeature(feature: FeatureName, its: FeatureSteps): void {
  assert(!steps.has(feature), `one subject owns ${feature}`);
  steps.set(feature, its);
}

export async function switchFeature(ctx: CommandContext, project: string, feature: FeatureName, on: boolean): Promise<void> {
  await steps.get(feature)?.[on ? 'enabled' : 'disabled'](ctx, project);
}
