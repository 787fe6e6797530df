// The http wing: being written by the lead.
export const instancesControllers: (new (...args: never[]) => object)[] = [];
