/**
 * The page's HTTP calls, all to its own origin.
 *
 * In: an SDP offer, the choice of avatar and scales, or the session to watch. Out: the SDP answer, the list of avatars,
 * the scales' ranges; errors as `Problem`. Routes: POST offer, POST sessions/ID/viewers, GET avatars, GET controls
 * (docs/protocol.md).
 */

import { Problem } from "./problems.js";

const ANSWER_WITHIN_MS = 10_000;
/** Codes of the server that this page has its own words for. */
const KNOWN = /** @type {const} */ (["server_full", "not_ready", "unknown_avatar", "unknown_session", "viewers_full"]);

/** @typedef {{id: string, name: string, image: string, thumbnail: string, about: string}} Avatar */

/**
 * @param {string} route relative to this page
 * @param {RequestInit} [init]
 * @returns {Promise<Response>}
 */
async function ask(route, init = {}) {
  const limit = AbortSignal.timeout(ANSWER_WITHIN_MS);
  const signal = init.signal ? AbortSignal.any([init.signal, limit]) : limit;
  try {
    return await fetch(new URL(route, document.baseURI), {
      mode: "same-origin",
      credentials: "same-origin",
      redirect: "error",
      cache: "no-store",
      ...init,
      signal,
    });
  } catch (error) {
    if (init.signal?.aborted) throw init.signal.reason;
    throw new Problem("unreachable", { cause: error });
  }
}

/**
 * @param {Response} response with an error status
 * @returns {Promise<Problem>}
 */
async function readRefusal(response) {
  /** @type {{error?: unknown, message?: unknown}} */
  let body = {};
  try {
    body = await response.json();
  } catch {
    /* Not our JSON: a proxy's page, say. The status has to do. */
  }
  const known = KNOWN.find((code) => code === body?.error);
  if (known) return new Problem(known);
  if ([502, 503, 504].includes(response.status)) return new Problem("unreachable");
  const said = typeof body?.message === "string" ? body.message : `It answered with status ${response.status}.`;
  return new Problem("refused", { sentence: said });
}

/**
 * @param {RTCSessionDescription} offer
 * @param {string | null} avatar id, or null for the server's default
 * @param {import("./scale-line.js").ScaleWish} scales
 * @param {AbortSignal} signal
 * @returns {Promise<RTCSessionDescriptionInit>}
 */
export async function postOffer(offer, avatar, scales, signal) {
  return negotiate("offer", { sdp: offer.sdp, type: offer.type, ...(avatar ? { avatar } : {}), ...scales }, signal);
}

/**
 * @param {string} session id of the call to watch
 * @param {RTCSessionDescription} offer that only receives
 * @param {AbortSignal} signal
 * @returns {Promise<RTCSessionDescriptionInit>}
 */
export async function postViewer(session, offer, signal) {
  const route = `sessions/${encodeURIComponent(session)}/viewers`;
  return negotiate(route, { sdp: offer.sdp, type: offer.type }, signal);
}

/**
 * @param {string} route
 * @param {Record<string, unknown>} body with an offer
 * @param {AbortSignal} signal
 * @returns {Promise<RTCSessionDescriptionInit>}
 */
async function negotiate(route, body, signal) {
  const response = await ask(route, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  if (!response.ok) throw await readRefusal(response);
  const answer = await response.json();
  if (answer?.type !== "answer" || typeof answer?.sdp !== "string") {
    throw new Problem("refused", { sentence: "It answered something that is not a call. Reload the page and try again." });
  }
  return { type: answer.type, sdp: answer.sdp };
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
  const response = await ask("avatars");
  if (!response.ok) throw await readRefusal(response);
  const body = await response.json();
  const rows = Array.isArray(body) ? body : body?.avatars;
  if (!Array.isArray(rows)) throw new Problem("refused", { sentence: "Its list of avatars cannot be read." });
  return rows.map((row) => ({
    id: String(row.id),
    name: String(row.name ?? row.id),
    image: ownAddress(row.image),
    thumbnail: ownAddress(row.thumbnail ?? row.image),
    about: String(row.about ?? ""),
  }));
}

/** @returns {Promise<import("./scale-line.js").ScaleRanges>} */
export async function fetchScaleRanges() {
  const response = await ask("controls");
  if (!response.ok) throw await readRefusal(response);
  return response.json();
}
