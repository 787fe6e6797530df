import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { attachLoop, detachLoop, kernelFilesystems, listLoops, loadedModules, memoryUse, refreshLoop } from './machine.js';

describe('machine', () => {
  it('tells memory', () => {
    const use = memoryUse('MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:   400 kB\nSwapTotal: 8 kB\nSwapFree: 7 kB\n');
    expect(use).toEqual({ totalBytes: 1_024_000, availableBytes: 409_600, usedBytes: 614_400, swapTotalBytes: 8192, swapFreeBytes: 7168 });
    expect(memoryUse().totalBytes).toBeGreaterThan(1e8);
  });

  it('tells what the kernel has', () => {
    expect(kernelFilesystems()).toContain('proc');
    expect(loadedModules('loop 45056 2 - Live 0x0\nfuse 1 1 - Live 0x0\n')).toEqual(new Set(['loop', 'fuse']));
  });

  it('makes and frees loop devices', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'host-kit-loop-'));
    const file = join(folder, 'disk.img');
    writeFileSync(file, '');
    truncateSync(file, 4 * 1024 * 1024);
    try {
      const device = await attachLoop(file);
      try {
        expect(await listLoops(file)).toEqual([{ device, file }]);
        truncateSync(file, 8 * 1024 * 1024);
        await refreshLoop(device);
      } finally {
        await detachLoop(device);
      }
      expect(await listLoops(file)).toEqual([]);
      await expect(attachLoop(join(folder, 'none'))).rejects.toMatchObject({ kind: 'internal' });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
