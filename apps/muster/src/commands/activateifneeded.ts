import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { isTrue } from '#config-keys';
import { Api } from '../api.js';
import type { Subcommand } from '../main.js';

/**
 * For socket activation: looks, with the daemon down, whether there is a reason to start it, and if so connects to its socket. The reasons go to standard
 * error, in LXD's words, with --debug.
 */
export const activateIfNeeded: Subcommand = {
  summary: 'Start the daemon, by its socket, if something needs it (for socket activation)',
  async run(args, dir) {
    const say = (text: string): void => {
      if (args.includes('--debug')) console.error(text);
    };
    const reason = reasonOf(dir);
    say(reason ? `Daemon has ${reason}, activating...` : 'No need to start the daemon now');
    if (reason) await new Api(dir).get('/1.0');
    return 0;
  },
};

function reasonOf(dir: string): string | undefined {
  if (read(join(dir, 'local.db'), (db) => db.prepare("SELECT value FROM member_config WHERE key = 'core.https_address' AND value <> ''").get())) {
    return 'core.https_address set';
  }
  return read(join(dir, 'database/replica.db'), (db) => {
    const instances = db.prepare('SELECT id, config FROM instances').all() as { id: number; config: string }[];
    const profiles = db.prepare(
      'SELECT profiles.config FROM instance_profiles JOIN profiles ON profiles.id = instance_profiles.profile_id WHERE instance_profiles.instance_id = ? ORDER BY position',
    );
    for (const { id, config } of instances) {
      const layers = [...(profiles.all(id) as { config: string }[]).map((profile) => profile.config), config];
      const expanded = Object.assign({}, ...layers.map((layer) => JSON.parse(layer) as object)) as Record<string, string>;
      if (expanded['volatile.last_state.power'] === 'RUNNING' || isTrue(expanded['boot.autostart'])) return 'auto-started instances';
      if (expanded['snapshots.schedule']) return 'scheduled instance snapshots';
    }
    const volumes = db.prepare("SELECT config FROM storage_volumes WHERE type = 'custom'").all() as { config: string }[];
    return volumes.some(({ config }) => (JSON.parse(config) as Record<string, string>)['snapshots.schedule'])
      ? 'scheduled volume snapshots'
      : undefined;
  });
}

/** The daemon is down, or holds the file by SQLite's own rules: a read-only connection of SQLite disturbs neither. */
function read<T>(path: string, query: (db: DatabaseSync) => T): T | undefined {
  if (!existsSync(path)) return undefined;
  const db = new DatabaseSync(path, { readOnly: true, timeout: 2000 });
  try {
    return query(db);
  } finally {
    db.close();
  }
}
