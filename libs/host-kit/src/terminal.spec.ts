import { statSync } from 'node:fs';
import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { describe, expect, it } from 'vitest';
import { startOnTerminal, type TerminalProgram } from './terminal.js';

async function read(terminal: TerminalProgram): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of terminal.stream) chunks.push(chunk as Buffer);
  return String(Buffer.concat(chunks));
}

describe('startOnTerminal', () => {
  it('gives the program a controlling terminal of the size asked', async () => {
    const terminal = startOnTerminal('sh', ['-c', 'tty; stty size; ps -o tty= -p $$; : </dev/tty && echo controlling; exit 5'], {
      size: { columns: 133, rows: 44 },
    });
    const text = await read(terminal);
    const name = terminal.terminalPath;
    expect(text.split(/\s*\r\n/)).toEqual([name, '44 133', name.replace('/dev/', ''), 'controlling', '']);
    expect(await terminal.ended).toEqual({ code: 5, signal: null });
  });

  it('carries keystrokes, resizes and interrupts', async () => {
    const terminal = startOnTerminal(
      'sh',
      ['-c', 'trap "stty size" WINCH; trap "echo interrupted; exit 3" INT; echo ready; while :; do sleep 0.05; done'],
      {
        env: { TERM: 'xterm' },
        owner: { uid: 1234, gid: 5 },
      },
    );
    expect(statSync(terminal.terminalPath).uid).toBe(1234);
    let text = '';
    terminal.stream.on('data', (chunk: Buffer) => (text += String(chunk)));
    const wait = async (word: string): Promise<void> => {
      const end = performance.now() + 5000;
      while (!text.includes(word) && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 10));
      expect(text).toContain(word);
    };
    await wait('ready');
    terminal.resize({ columns: 81, rows: 25 });
    await wait('25 81');
    terminal.stream.write('\x03');
    await wait('interrupted');
    expect((await terminal.ended).code).toBe(3);
    terminal.resize({ columns: 1, rows: 1 });
  });

  it('passes raw bytes in bulk and waits for a slow reader', async () => {
    const terminal = startOnTerminal('sh', ['-c', 'stty raw -echo; dd if=/dev/zero bs=64k count=320 status=none']);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(terminal.ending).toBeUndefined();
    let bytes = 0;
    const slow = new Writable({ write: (chunk: Buffer, _encoding, done) => ((bytes += chunk.length), setImmediate(done)) });
    await pipeline(terminal.stream, slow);
    expect(bytes).toBe(320 * 65536);
  });

  it('hangs up when the stream is destroyed', async () => {
    const terminal = startOnTerminal('sh', ['-c', 'sleep 30']);
    terminal.stream.destroy();
    expect((await terminal.ended).signal).toBe('SIGHUP');
  });

  it('says that a program is missing and closes the terminal', () => {
    expect(() => startOnTerminal('no-such-program', [])).toThrow(expect.objectContaining({ kind: 'unsupported' }));
  });
});
