/** What a project may have of its own; without the feature it shares the default project's. */
export interface Feature {
  defaultOn: boolean;
  /** May be switched on while the project holds things. */
  canEnableNonEmpty: boolean;
}

export const features = {
  'features.images': { defaultOn: true, canEnableNonEmpty: false },
  'features.profiles': { defaultOn: true, canEnableNonEmpty: false },
  'features.storage.volumes': { defaultOn: true, canEnableNonEmpty: false },
  'features.networks': { defaultOn: false, canEnableNonEmpty: false },
} as const satisfies Record<string, Feature>;

export type FeatureName = keyof typeof features;
export const featureNames = Object.keys(features) as FeatureName[];
