import { zeroTime } from '#api-contract';
import type { BackupRecord } from '../state/index.js';

/** LXD shows whole seconds. */
const seconds = (time: string): string => time.replace(/\.\d+Z$/, 'Z');

export const backupDocument = ({ name, createdAt, expiresAt, only, optimized }: BackupRecord): Record<string, unknown> => ({
  name,
  created_at: seconds(createdAt),
  expires_at: expiresAt === '' ? zeroTime : seconds(expiresAt),
  instance_only: only,
  container_only: only,
  optimized_storage: optimized,
});

export const volumeBackupDocument = ({ name, createdAt, expiresAt, only, optimized }: BackupRecord): Record<string, unknown> => ({
  name,
  created_at: seconds(createdAt),
  expires_at: expiresAt === '' ? zeroTime : seconds(expiresAt),
  volume_only: only,
  optimized_storage: optimized,
});
