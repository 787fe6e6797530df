import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { PassThrough, Readable, Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { run, runOk, start, streamThrough } from './run.js';

const descriptors = (): number => readdirSync('/proc/self/fd').length;
const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 50));

describe('run', () => {
  it('collects both outputs and the code', async () => {
    const result = await run('sh', ['-c', 'echo out; echo err >&2; exit 4']);
    expect(result).toMatchObject({ code: 4, signal: null });
    expect(String(result.stdout)).toBe('out\n');
    expect(String(result.stderr)).toBe('err\n');
  });

  it('feeds text and streams, and reads nothing when there is no input', async () => {
    expect(String(await runOk('cat', [], { input: 'hällo' }))).toBe('hällo');
    expect(String(await runOk('wc', ['-c'], { input: Readable.from([Buffer.alloc(300_000), Buffer.alloc(5)]) }))).toBe('300005\n');
    expect(String(await runOk('cat', []))).toBe('');
  });

  it('does not mind a program that reads none of its input', async () => {
    expect((await run('true', [], { input: Buffer.alloc(5_000_000) })).code).toBe(0);
    expect((await run('true', [], { input: Readable.from([Buffer.alloc(5_000_000)]) })).code).toBe(0);
  });

  it('fails a run whose input broke off', async () => {
    const input = new PassThrough();
    const running = run('cat', [], { input });
    input.write('half');
    input.destroy(new Error('gone'));
    await expect(running).rejects.toMatchObject({ kind: 'internal', message: 'The input of a program broke off' });
  });

  it('kills the whole group at the deadline', async () => {
    const started = performance.now();
    await expect(run('sh', ['-c', 'sleep 20 & sleep 20'], { timeoutMs: 100 })).rejects.toMatchObject({ kind: 'unavailable' });
    expect(performance.now() - started).toBeLessThan(3000);
  });

  it('kills it when the caller goes away', async () => {
    const controller = new AbortController();
    const running = run('sleep', ['20'], { signal: controller.signal });
    controller.abort();
    await expect(running).rejects.toMatchObject({ kind: 'unavailable' });
  });

  it('bounds the output', async () => {
    await expect(run('yes', [], { outputMaxBytes: 10_000 })).rejects.toMatchObject({ kind: 'internal' });
  });

  it('does not wait for what a program left behind', async () => {
    const started = performance.now();
    const result = await run('sh', ['-c', 'sleep 20 & echo $!']);
    expect(performance.now() - started).toBeLessThan(5000);
    process.kill(Number(result.stdout), 'SIGKILL');
  });

  it('keeps the last words of a failed program from the public sentence', async () => {
    await expect(runOk('sh', ['-c', 'echo secret >&2; exit 2'])).rejects.toMatchObject({
      kind: 'internal',
      message: "Program 'sh' failed",
      detail: expect.stringContaining('code 2: secret'),
    });
  });

  it('names the package of a missing program', async () => {
    await expect(run('no-such-program', [])).rejects.toMatchObject({ kind: 'unsupported' });
  });

  it('runs as another user', async () => {
    expect(String(await runOk('sh', ['-c', 'id -u; id -g; id -G'], { uid: 12345 }))).toBe('12345\n12345\n12345\n');
  });

  it('leaves no descriptor behind', async () => {
    await run('true', []);
    await settle();
    const before = descriptors();
    for (let i = 0; i < 10; i++) await run('cat', [], { input: 'x' });
    await run('no-such-program', []).catch(() => {});
    await settle();
    expect(descriptors()).toBe(before);
  });
});

describe('streams', () => {
  it('holds back a program whose output nobody reads', async () => {
    const child = start('dd', ['if=/dev/zero', 'bs=1M', 'count=100', 'status=none'], { stdin: 'null', stdout: 'pipe', stderr: 'null' });
    await settle();
    expect(child.ending).toBeUndefined();
    let bytes = 0;
    for await (const chunk of child.stdout) bytes += (chunk as Buffer).length;
    expect(bytes).toBe(100 * 1024 * 1024);
    expect((await child.ended).code).toBe(0);
  });

  it('passes bytes through a program unchanged', async () => {
    const block = Buffer.alloc(1024 * 1024, 'abcdefg');
    const sent = createHash('sha256');
    const received = createHash('sha256');
    const input = Readable.from(
      (function* () {
        for (let i = 0; i < 20; i++) {
          sent.update(block);
          yield block;
        }
      })(),
    );
    const output = new Writable({ write: (chunk: Buffer, _encoding, done) => (received.update(chunk), done()) });
    await streamThrough(input, 'cat', [], output);
    expect(output.writableFinished).toBe(true);
    expect(received.digest('hex')).toBe(sent.digest('hex'));
  });

  it('does not end the output of a program that failed', async () => {
    const output = new PassThrough();
    output.resume();
    await expect(streamThrough(undefined, 'sh', ['-c', 'echo half; exit 1'], output)).rejects.toMatchObject({ kind: 'internal' });
    expect(output.writableFinished).toBe(false);
    expect(output.destroyed).toBe(true);
  });

  it('kills the program when its output breaks', async () => {
    const output = new Writable({ write: (_chunk, _encoding, done) => done(new Error('disk full')) });
    await expect(streamThrough(undefined, 'yes', [], output, { failure: 'Could not unpack' })).rejects.toMatchObject({ message: 'Could not unpack' });
  });

  it('kills the program when its input breaks', async () => {
    const input = new PassThrough();
    const done = streamThrough(input, 'cat', [], new PassThrough().resume());
    input.write('x');
    input.destroy(new Error('connection lost'));
    await expect(done).rejects.toMatchObject({ kind: 'internal' });
  });
});
