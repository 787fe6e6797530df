import type { TrustSettings } from '#identities/http';
import { ServerAgentService, type Members } from '#members';
import type { Replica } from '#replica';
import { listenAddresses, parseExpiry } from '#server/model';
import { serverValue } from '#server/state';

/** What the server's configuration says about trust, for identities, which stands below it. */
export function trustSettings({ replica, members }: { replica: Replica; members: Members }): TrustSettings {
  return {
    passwordHash: () => serverValue(replica.reader, 'core.trust_password'),
    tokenExpiry(now) {
      const expiry = serverValue(replica.reader, 'core.remote_token_expiry');
      return expiry === '' ? undefined : parseExpiry(expiry, now);
    },
    async addresses(context) {
      const agent = members.calls(ServerAgentService);
      const [{ config }, { addresses }] = await Promise.all([agent.config({}, context), agent.environment({}, context)]);
      return listenAddresses(config['core.https_address'] ?? '', addresses);
    },
  };
}
