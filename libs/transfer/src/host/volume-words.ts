import type { VolumeWords } from '#instances/state';

/** What goes along of a volume or a snapshot of it. */
export const wordsOf = (of: VolumeWords | undefined): VolumeWords | undefined => of && { description: of.description, config: of.config };
