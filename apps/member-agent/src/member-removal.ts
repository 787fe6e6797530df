import { onMemberRemoval } from '#cluster/state';
import { fault } from '#kit';

/** What instances, volumes, images, pools and networks have to say when a member leaves the cluster: in the command that removes it. */
onMemberRemoval(({ sql }, { id, force }) => {
  const names = (query: string): string[] => sql.all<{ name: string }>(query, id).map(({ name }) => name);
  if (!force) {
    refuse('instances', names('SELECT name FROM instances WHERE member_id = ? ORDER BY name'));
    refuse('custom volumes', names("SELECT name FROM storage_volumes WHERE member_id = ? AND type = 'custom' ORDER BY name"));
    // Of an image that others have too, one copy less is no loss.
    refuse(
      'images',
      names(
        `SELECT fingerprint AS name FROM images_members m WHERE member_id = ?
          AND NOT EXISTS (SELECT 1 FROM images_members o WHERE o.fingerprint = m.fingerprint AND o.member_id <> m.member_id)`,
      ),
    );
  }
  for (const { instance } of sql.all<{ instance: number }>('SELECT id AS instance FROM instances WHERE member_id = ?', id)) {
    sql.run('DELETE FROM entity_references WHERE user = ?', `instance/${instance}`);
    sql.run('DELETE FROM instances WHERE id = ?', instance);
  }
  sql.run('DELETE FROM storage_volumes WHERE member_id = ?', id);
  sql.run('DELETE FROM images_members WHERE member_id = ?', id);
  sql.run('DELETE FROM storage_pool_members WHERE member_id = ?', id);
  sql.run('DELETE FROM network_members WHERE member = ?', id);
});

function refuse(what: string, names: readonly string[]): void {
  if (names.length > 0) throw fault.invalid(`Node still has the following ${what}: ${names.join(', ')}`, { status: 500 });
}
