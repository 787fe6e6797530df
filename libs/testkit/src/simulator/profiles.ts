/** What the simulator can run. */
import { drawRaftPlan, type Plan } from './plan.js';
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
};
