/** The gateway that serves this request, as far as subjects may steer it (token GATEWAY). */
export interface Gateway {
  /**
   * Moves the HTTPS listener to `host:port` (port 8443 when absent; '' closes it). The new address is bound before the old one is closed, and
   * connections of the old one go on, so the very request that asks for it is answered.
   * @throws Fault invalid when it cannot be bound; the old listener then stays
   */
  listenHttps(address: string): Promise<void>;
  /** The same for the listener that serves metrics and nothing else. */
  listenMetrics(address: string): Promise<void>;
  /** The routes that are served, for walking them. */
  routes(): readonly { method: string; path: string }[];
}
