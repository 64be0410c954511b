/**
 * The way through the network: which servers help to find it, and what may be wrong when there is none.
 *
 * In: the server's configuration; offer and answer as they were exchanged. Out: `RTCIceServer`s; one sentence.
 * Source: RFC 8445 (kinds of candidates), RFC 8839, 5.1 (how they are written).
 */

/** @typedef {{host: string, kind: string}} Candidate `kind` is "host", "srflx", "prflx" or "relay" */

/**
 * @param {any} config the server's, of `GET /config`
 * @returns {RTCIceServer[]} those that this browser can use
 */
export function iceServersOf(config) {
  /** @type {any[]} */
  const rows = Array.isArray(config?.ice_servers) ? config.ice_servers : [];
  return rows.filter((row) => /^(stun|turn)s?:/.test(String(row?.urls)));
}

/**
 * @param {string} sdp
 * @returns {Candidate[]}
 */
function candidatesIn(sdp) {
  return [...sdp.matchAll(/^a=candidate:\S+ 1 udp \S+ (\S+) \d+ typ (\w+)/gim)].map(([, host, kind]) => ({ host, kind }));
}

/** @param {string} host */
function isLoopback(host) {
  return host === "::1" || host === "localhost" || host.startsWith("127.");
}

/** @param {string} host an address that only its own network reaches */
function isPrivate(host) {
  return /^(10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|169\.254\.|f[cd]|fe80)/i.test(host);
}

/**
 * Why two ends that spoke over HTTP may find no way for their media.
 * @param {object} tried
 * @param {string} tried.offer this end's description
 * @param {string} tried.answer the server's
 * @param {string} tried.page host name of the page
 * @param {RTCIceServer[]} tried.servers that were to help
 * @returns {string} one or two sentences
 */
export function explainNoWay({ offer, answer, page, servers }) {
  const [here, there] = [candidatesIn(offer), candidatesIn(answer)];
  const wantsRelay = servers.some(({ urls }) => [urls].flat().some((url) => url.startsWith("turn")));
  const far = there.filter(({ host }) => !isLoopback(host));
  if (here.length === 0) {
    return "This browser gives no address of its own: WebRTC is held back by a setting, an extension or a VPN.";
  }
  if (there.length === 0) return "The server names no address for picture and sound: its log says more.";
  if (!isLoopback(page) && far.length === 0) {
    return "The server names only itself (127.0.0.1): start it with HOST=0.0.0.0.";
  }
  if (wantsRelay && !here.some(({ kind }) => kind === "relay")) {
    return "The relay (TURN) gives no address: it is not reached, or it refuses the password.";
  }
  if (!isPrivate(page) && !isLoopback(page) && far.every(({ host }) => isPrivate(host))) {
    const [{ host }] = far;
    return `The server names only an address of its own network (${host}): it needs --public-address or --ice-server.`;
  }
  if (wantsRelay) return "Not even the relay (TURN) gets through: a firewall blocks it.";
  if (here.every(({ host }) => host.endsWith(".local"))) {
    return "A firewall blocks UDP, or the server cannot tell your address, which this browser hides.";
  }
  return "A firewall blocks UDP between here and the server. A relay (--ice-server turn:…) helps.";
}
