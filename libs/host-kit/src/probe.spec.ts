import { describe, expect, it } from 'vitest';
import { probeProgram, probePrograms } from './probe.js';

describe('probe', () => {
  it('finds what is here, with versions', async () => {
    const states = await probePrograms();
    for (const state of states) {
      if (state.state === 'missing') expect(state.package).toBeTruthy();
      else expect(state).toMatchObject({ state: 'ready', path: expect.stringMatching(/^\//) });
    }
    expect(states.find(({ name }) => name === 'tar')).toMatchObject({ state: 'ready', package: 'tar', version: expect.stringMatching(/^\d+\.\d+/) });
    expect(states.find(({ name }) => name === 'ip')?.version).toMatch(/^\d+\.\d+/);
    if (process.env['VERBOSE']) console.log(states.map(({ name, state, version }) => `${name} ${state} ${version ?? ''}`).join('\n'));
  });

  it('says of a program that it is missing', async () => {
    expect(await probeProgram('no-such-program')).toMatchObject({ state: 'missing' });
  });
});
