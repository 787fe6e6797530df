import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DriverOptions, Ending, InstanceDriver, StartSpec } from '../driver.js';

export interface DriverUnderTest {
  /** A driver of the machine; a second one finds what the first started. */
  make(options: DriverOptions): InstanceDriver;
  spec(): StartSpec;
  /** A command line that succeeds, one that fails with 3, one that copies its input, one that stays, one that does not exist. */
  commands: { ok: string[]; three: string[]; copy: string[]; stay: string[]; missing: string[] };
}

/** What every driver of instances promises (driver.ts). Run on each, the one in memory included. */
export function driverContract(name: string, under: () => DriverUnderTest): void {
  describe(`the contract of instance drivers: ${name}`, () => {
    let driver: InstanceDriver;
    let spec: StartSpec;
    let endings: Ending[];
    let next: (() => void) | undefined;
    const options: DriverOptions = {
      onEnded: (ending) => {
        endings.push(ending);
        next?.();
      },
    };
    const ended = async (): Promise<void> => {
      if (endings.length === 0) await new Promise<void>((resolve) => (next = resolve));
    };

    beforeEach(() => {
      endings = [];
      driver = under().make(options);
      spec = under().spec();
    });
    afterEach(async () => {
      await driver.kill(spec);
      driver.close();
    });

    it('starts once, tells of the end once, and is content to kill what does not run', async () => {
      expect(await driver.power(spec)).toEqual({ state: 'stopped', pid: 0 });
      const power = await driver.start(spec);
      expect(power).toMatchObject({ state: 'running' });
      expect(power.pid).toBeGreaterThan(0);
      expect(await driver.power(spec)).toEqual(power);
      await expect(driver.start(spec)).rejects.toThrow('The instance is already running');
      await driver.kill(spec);
      await ended();
      await driver.kill(spec);
      expect(endings).toEqual([{ hostName: spec.hostName, target: 'stop' }]);
      expect(await driver.power(spec)).toEqual({ state: 'stopped', pid: 0 });
      expect(await driver.usage(spec)).toMatchObject({ processes: 0 });
    });

    it('can be started again as soon as its end was told', async () => {
      for (let round = 0; round < 3; round++) {
        endings = [];
        await driver.start(spec);
        await driver.kill(spec);
        await ended();
      }
    });

    it('freezes, thaws, and kills what is frozen', async () => {
      await driver.start(spec);
      await driver.freeze(spec);
      expect((await driver.power(spec)).state).toBe('frozen');
      await driver.unfreeze(spec);
      expect((await driver.power(spec)).state).toBe('running');
      await driver.freeze(spec);
      await driver.kill(spec);
      await ended();
    });

    it('runs commands with their codes, streams and signals', async () => {
      await driver.start(spec);
      const { ok, three, copy, stay, missing } = under().commands;
      const request = (command: string[]) => ({ command, environment: { PATH: '/bin' }, uid: 0, gid: 0, cwd: '/' });
      for (const [command, code] of [
        [ok, 0],
        [three, 3],
        [missing, 127],
      ] as const) {
        const process = await driver.exec(spec, request(command));
        process.stdout.resume();
        process.stderr.resume();
        expect(await process.exited).toBe(code);
      }
      const copying = await driver.exec(spec, request(copy));
      copying.stderr.resume();
      copying.stdin.end('through');
      expect(await text(copying.stdout)).toBe('through');
      expect(await copying.exited).toBe(0);
      const staying = await driver.exec(spec, request(stay));
      staying.stdout.resume();
      staying.stderr.resume();
      staying.signal(15);
      expect(await staying.exited).toBe(143);
    });

    it('finds what another of its kind started, and tells of its end', async () => {
      const power = await driver.start(spec);
      driver.close();
      driver = under().make(options);
      expect(await driver.watch(spec)).toEqual(power);
      await driver.kill(spec);
      await ended();
      expect(await driver.watch(spec)).toEqual({ state: 'stopped', pid: 0 });
    });

    it('leaves nothing of a start that failed, and says no to a config that it cannot take', async () => {
      await expect(driver.start({ ...spec, config: { 'raw.lxc': 'lxc.init.cmd = /no/such/init' } })).rejects.toThrow('Failed to start');
      expect(await driver.power(spec)).toEqual({ state: 'stopped', pid: 0 });
      await expect(driver.check({ 'raw.lxc': 'lxc.notaconfigkey = 1' })).rejects.toMatchObject({ kind: 'invalid' });
      await driver.start(spec);
    });
  });
}
