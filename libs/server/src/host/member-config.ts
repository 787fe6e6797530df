import type { LocalStore } from '#replica';
import type { Config } from '../model/index.js';

/** The member's own configuration keys, in its local.db. */
export class MemberConfigStore {
  constructor(private readonly local: LocalStore) {
    local.migrate('server', ['CREATE TABLE member_config (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)']);
  }

  read(): Config {
    const rows = this.local.all<{ key: string; value: string }>('SELECT key, value FROM member_config ORDER BY key');
    return Object.fromEntries(rows.map(({ key, value }) => [key, value]));
  }

  replace(config: Config): void {
    this.local.transaction(() => {
      this.local.run('DELETE FROM member_config');
      for (const [key, value] of Object.entries(config)) this.local.run('INSERT INTO member_config (key, value) VALUES (?, ?)', key, value);
    });
  }
}
