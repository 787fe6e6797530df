/** The door of the simulator: see ../../DESIGN.md. */
export * from './engine-simulation.js';
export * from './linearizability.js';
export * from './plan.js';
export * from './raft-simulation.js';
export { hostRules, type HostRules } from './host-rules.js';
export * from './profiles.js';
export { shrink } from './shrink.js';
export { Violation } from './violation.js';
