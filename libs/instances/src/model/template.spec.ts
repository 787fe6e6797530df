import { describe, expect, it } from 'vitest';
import { goDate, renderTemplate } from './template.js';

const config: Record<string, string> = { 'user.x': 'set' };
const scope = {
  container: { name: 'c1', privileged: 'false' },
  config,
  config_get: (key: unknown, fallback: unknown) => config[key as string] ?? (fallback as string),
  properties: { a: '1', b: '2' },
  creation_date: new Date('2026-11-23T18:34:01Z'),
};

describe('renderTemplate', () => {
  it('prints, calls, filters', () => {
    expect(renderTemplate('{{ container.name }} {{ config_get("user.x", "d") }} {{ config_get(\'no\', "d")|upper }}', scope)).toBe('c1 set D');
    expect(renderTemplate('{{ config["user.x"] }}{{ nothing.at.all }}', scope)).toBe('set');
    expect(renderTemplate('snap-{{ creation_date|date:"2006-01-02_15-04-05" }}', scope)).toBe('snap-2026-11-23_18-34-01');
  });
  it('branches and loops', () => {
    const text = '{% if config_get("user.x", "") == "" %}none{% elif container.name != "c1" %}other{% else %}here{% endif %}';
    expect(renderTemplate(text, scope)).toBe('here');
    expect(renderTemplate('{% for key, value in properties %}{{ key }}={{ value }};{% endfor %}', scope)).toBe('a=1;b=2;');
    expect(renderTemplate('{% if not config.nope and container.name %}yes{% endif %}{# comment #}', scope)).toBe('yes');
  });
  it('refuses what it does not know, and never reaches beyond its scope', () => {
    expect(() => renderTemplate('{% include "/etc/shadow" %}', scope)).toThrow('unknown tag');
    expect(() => renderTemplate('{{ container.constructor() }}', scope)).toThrow('cannot read');
    expect(renderTemplate('{{ constructor }}{{ container.__proto__ }}', scope)).toBe('');
    expect(() => renderTemplate('{% if 1 %}', scope)).toThrow('no endif');
  });
});

it('goDate writes times in Go layouts', () => {
  expect(goDate(new Date('2026-01-02T03:04:05Z'), 'Mon Jan 02 03:04PM 06')).toBe('Fri Jan 02 03:04AM 26');
});
