/** What the simulator can run. */
import { drawRaftPlan, drawReplicaPlan, type Plan } from './plan.js';
import { runReplicaPlan } from './engine-simulation.js';
import { runRaftPlan, type Outcome, type RunOptions } from './raft-simulation.js';

export interface Profile {
  readonly draw: (seed: number) => Plan;
  readonly run: (plan: Plan, options?: RunOptions) => Outcome | Promise<Outcome>;
  /** Of the seeds asked for, so much runs in this profile when none is named. */
  readonly share: number;
}

export const profiles: Readonly<Record<string, Profile>> = {
  /** raft-ts alone, on the real log and a fake disk, with a toy for a state machine. */
  raft: { draw: drawRaftPlan, run: runRaftPlan, share: 1 },
  /** The whole engine on SQLite, one member or three. */
  replica: { draw: drawReplicaPlan, run: (plan, options = {}) => runReplicaPlan(plan, { ...(options.trace && { trace: true }) }), share: 0.05 },
};
