import { expect, it } from 'vitest';
import { renderSamples } from './metrics.js';

it('renders each family of metrics once, with labels in order and escaped', () => {
  const text = renderSamples([
    { family: 'procs_total', labels: { project: 'default', name: 'a' }, value: 3 },
    { family: 'cpu_seconds_total', labels: { name: 'a', mode: 'user' }, value: 0.5 },
    { family: 'procs_total', labels: { name: 'b"\\\n' }, value: 1e21 },
  ]);
  expect(text.split('\n')).toEqual([
    expect.stringMatching(/^# HELP lxd_cpu_seconds_total /),
    '# TYPE lxd_cpu_seconds_total counter',
    'lxd_cpu_seconds_total{mode="user",name="a"} 0.5',
    expect.stringMatching(/^# HELP lxd_procs_total /),
    '# TYPE lxd_procs_total gauge',
    'lxd_procs_total{name="a",project="default"} 3',
    'lxd_procs_total{name="b\\"\\\\\\n"} 1e+21',
    '',
  ]);
  expect(renderSamples([])).toBe('');
});
