import { statusText, type StatusCode } from '#api-contract';

/** What an instance does, as its driver sees it. */
export type PowerState = 'stopped' | 'starting' | 'running' | 'freezing' | 'frozen' | 'stopping' | 'aborting' | 'error';

const codes: Record<PowerState, StatusCode> = {
  stopped: 102,
  running: 103,
  starting: 106,
  stopping: 107,
  aborting: 108,
  freezing: 109,
  frozen: 110,
  error: 112,
};

export const statusCodeOf = (state: PowerState): StatusCode => codes[state];
export const statusOf = (state: PowerState): { status: string; status_code: StatusCode } => ({
  status: statusText[codes[state]],
  status_code: codes[state],
});

/** It has processes: exec, freeze and stop make sense, start does not. */
export const isRunning = (state: PowerState): boolean =>
  state === 'running' || state === 'frozen' || state === 'freezing' || state === 'starting' || state === 'stopping';

/** What one can ask of an instance's power. */
export const actions = ['start', 'stop', 'restart', 'freeze', 'unfreeze'] as const;
export type Action = (typeof actions)[number];

export const actionDescriptions: Record<Action, string> = {
  start: 'Starting instance',
  stop: 'Stopping instance',
  restart: 'Restarting instance',
  freeze: 'Freezing instance',
  unfreeze: 'Unfreezing instance',
};

export const isAction = (text: string): text is Action => (actions as readonly string[]).includes(text);
