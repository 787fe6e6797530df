import type { LocalStore } from '#replica';

export interface Peer {
  id: number;
  address: string;
}

/** The peers of this member as it last knew them, in its local.db: how it finds the others at a start. None: it stands alone. */
export class NetworkStore {
  constructor(private readonly local: LocalStore) {
    local.migrate('cluster', ['CREATE TABLE cluster_peers (id INTEGER NOT NULL PRIMARY KEY, address TEXT NOT NULL)']);
  }

  read(): Peer[] {
    return this.local.all<Peer>('SELECT id, address FROM cluster_peers ORDER BY id');
  }

  write(peers: readonly Peer[]): void {
    this.local.transaction(() => {
      this.local.run('DELETE FROM cluster_peers');
      for (const { id, address } of peers) this.local.run('INSERT INTO cluster_peers (id, address) VALUES (?, ?)', id, address);
    });
  }
}
