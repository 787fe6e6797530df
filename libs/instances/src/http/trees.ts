import type { InstanceType } from '#api-contract';

/** The three trees under which LXD shows instances; an answer's URLs begin as the request's path did. */
export const trees = ['instances', 'containers', 'virtual-machines'] as const;
export type Tree = (typeof trees)[number];

/** What a tree shows; `instances` shows all. */
export const typeOfTree: Record<Tree, InstanceType | undefined> = {
  instances: undefined,
  containers: 'container',
  'virtual-machines': 'virtual-machine',
};
