/**
 * The page's HTTP calls, all to its own origin.
 *
 * In: an SDP offer, the choice of avatar and scales, or the session to watch. Out: the SDP answer, the list of avatars,
 * the scales' ranges, the ICE servers; errors as `Problem`. Routes: POST offer, POST sessions/ID/viewers, GET avatars, GET controls,
 * GET config (docs/protocol.md).
 */

import { iceServersOf } from "./ice.js";
import { Problem } from "./problems.js";

const ANSWER_WITHIN_MS = 10_000;
/** Codes of the server that this page has its own words for. */
const KNOWN = /** @type {const} */ (["server_full", "not_ready", "unknown_avatar", "unknown_session", "viewers_full"]);

/** @typedef {{id: string, name: string, image: string, thumbnail: string, about: string, own: boolean}} Avatar */
/** @typedef {{consent: string, max_bytes: number, max_avatars: number}} UploadsConfig what who gives a picture confirms */
/** @typedef {{iceServers: RTCIceServer[], uploads: UploadsConfig | null}} PageConfig `uploads` is null where none are taken */

/**
 * @typedef {object} Reply
 * @property {boolean} ok
 * @property {number} status of HTTP
 * @property {any} body what came as JSON; undefined where it was none
 */

/**
 * Asks, and reads the answer to its end. The limit is kept by hand: browsers that can call need not have
 * `AbortSignal.any` (Chrome 116, Firefox 124, Safari 17.4).
 * @param {string} route relative to this page
 * @param {RequestInit} [init]
 * @returns {Promise<Reply>}
 */
async function ask(route, init = {}) {
  const { signal } = init;
  const giveUp = new AbortController();
  const follow = () => giveUp.abort(signal?.reason);
  const limit = setTimeout(() => giveUp.abort(), ANSWER_WITHIN_MS);
  if (signal?.aborted) follow();
  signal?.addEventListener("abort", follow);
  try {
    const response = await fetch(new URL(route, document.baseURI), {
      mode: "same-origin",
      credentials: "same-origin",
      redirect: "error",
      cache: "no-store",
      ...init,
      signal: giveUp.signal,
    });
    return { ok: response.ok, status: response.status, body: readJson(await response.text()) };
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    throw new Problem("unreachable", { cause: error });
  } finally {
    clearTimeout(limit);
    signal?.removeEventListener("abort", follow);
  }
}

/**
 * @param {string} text
 * @returns {any} undefined where it is no JSON: a proxy's page, say
 */
function readJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * @param {Reply} reply with an error status
 * @returns {Problem}
 */
function refusalOf({ status, body }) {
  const known = KNOWN.find((code) => code === body?.error);
  if (known) return new Problem(known);
  if ([502, 503, 504].includes(status)) return new Problem("unreachable");
  const said = typeof body?.message === "string" ? body.message : `It answered with status ${status}.`;
  return new Problem("refused", { sentence: said });
}

/**
 * @typedef {object} Answer
 * @property {RTCSessionDescriptionInit} description
 * @property {string | null} secret of the call, to come back to it; null from a server that gives none
 */

/**
 * @typedef {object} CallWish
 * @property {string | null} avatar id, or null for the server's default
 * @property {import("./scale-line.js").ScaleWish} scales
 * @property {string | null} secret of the call to come back to
 */

/**
 * @param {RTCSessionDescription} offer
 * @param {CallWish} wish
 * @param {AbortSignal} signal
 * @returns {Promise<Answer>}
 */
export async function postOffer(offer, { avatar, scales, secret }, signal) {
  const optional = { ...(avatar ? { avatar } : {}), ...(secret ? { resume: secret } : {}) };
  return negotiate("offer", { sdp: offer.sdp, type: offer.type, ...optional, ...scales }, signal);
}

/**
 * @param {string} session id of the call to watch
 * @param {RTCSessionDescription} offer that only receives
 * @param {AbortSignal} signal
 * @returns {Promise<Answer>}
 */
export async function postViewer(session, offer, signal) {
  const route = `sessions/${encodeURIComponent(session)}/viewers`;
  return negotiate(route, { sdp: offer.sdp, type: offer.type }, signal);
}

/**
 * @param {string} route
 * @param {Record<string, unknown>} body with an offer
 * @param {AbortSignal} signal
 * @returns {Promise<Answer>}
 */
async function negotiate(route, body, signal) {
  const reply = await ask(route, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  if (!reply.ok) throw refusalOf(reply);
  const { type, sdp, resume } = reply.body ?? {};
  if (type !== "answer" || typeof sdp !== "string") {
    throw new Problem("refused", { sentence: "It answered something that is not a call. Reload the page and try again." });
  }
  return { description: { type, sdp }, secret: typeof resume === "string" ? resume : null };
}

/**
 * @param {unknown} address a picture's address in the server's list
 * @returns {string} absolute, of this origin
 */
function ownAddress(address) {
  const url = new URL(String(address), document.baseURI);
  if (url.origin !== location.origin) throw new TypeError(`expected an address of ${location.origin}, got ${url.origin}`);
  return url.href;
}

/** @returns {Promise<Avatar[]>} */
export async function fetchAvatars() {
  const reply = await ask("avatars");
  if (!reply.ok) throw refusalOf(reply);
  const rows = Array.isArray(reply.body) ? reply.body : reply.body?.avatars;
  if (!Array.isArray(rows)) throw new Problem("refused", { sentence: "Its list of avatars cannot be read." });
  return rows.map((row) => ({
    id: String(row.id),
    name: String(row.name ?? row.id),
    image: ownAddress(row.image),
    thumbnail: ownAddress(row.thumbnail ?? row.image),
    about: String(row.about ?? ""),
    own: row.own === true,
  }));
}

/** @returns {Promise<import("./scale-line.js").ScaleRanges>} */
export async function fetchScaleRanges() {
  const reply = await ask("controls");
  if (!reply.ok) throw refusalOf(reply);
  return reply.body;
}

/** @returns {Promise<PageConfig>} */
export async function fetchConfig() {
  const reply = await ask("config");
  if (!reply.ok) throw refusalOf(reply);
  const uploads = reply.body?.uploads;
  return { iceServers: iceServersOf(reply.body), uploads: typeof uploads?.consent === "string" ? uploads : null };
}

/** @returns {() => Promise<RTCIceServer[]>} that asks the server once, and again after a failure, which counts as none */
export function rememberIceServers() {
  /** @type {Promise<RTCIceServer[]> | null} */
  let known = null;
  return () =>
    (known ??= fetchConfig().then(({ iceServers }) => iceServers).catch(() => {
      known = null;
      return [];
    }));
}
