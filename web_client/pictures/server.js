/**
 * Pictures on their way to the server: looked at, tried as a film, kept, removed (docs/protocol.md).
 *
 * In: a file and what is said of it. Out: what the server answers, or a `Refusal` with one sentence and, where something
 * was seen, a picture of it.
 */

const LOOK_WITHIN_MS = 120_000;
const FILM_WITHIN_MS = 180_000;

/** @typedef {import("./framing.js").Point} Point */
/** @typedef {{image: string, width: number, height: number}} SeenPicture */
/**
 * @typedef {object} Preview
 * @property {SeenPicture} picture
 * @property {Point[]} points
 * @property {string} framed address of the canvas that would be cut out
 * @property {string[]} notes
 * @property {import("./framing.js").Lines} lines
 */

/** Why a picture was not taken. */
export class Refusal extends Error {
  /**
   * @param {string} sentence
   * @param {{code?: string, seen?: string | null, picture?: SeenPicture | null}} [more]
   */
  constructor(sentence, { code = "", seen = null, picture = null } = {}) {
    super(sentence);
    this.code = code;
    this.seen = seen;
    this.picture = picture;
  }
}

/**
 * @param {string} route
 * @param {RequestInit} init
 * @param {number} within_ms
 * @param {AbortSignal} [signal]
 * @returns {Promise<Response>}
 */
async function send(route, init, within_ms, signal) {
  const giveUp = new AbortController();
  const limit = setTimeout(() => giveUp.abort(), within_ms);
  const follow = () => giveUp.abort();
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
    if (response.ok) return response;
    const said = await response.json().catch(() => ({}));
    const sentence = typeof said.message === "string" ? said.message : `The server answered with status ${response.status}.`;
    throw new Refusal(sentence, { code: said.error, seen: said.seen ?? null, picture: said.picture ?? null });
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    if (error instanceof Refusal) throw error;
    throw new Refusal("The server does not answer. Is it running? Then try again.", { code: "unreachable" });
  } finally {
    clearTimeout(limit);
    signal?.removeEventListener("abort", follow);
  }
}

/**
 * @param {Blob} file
 * @param {Point[] | null} points
 * @param {Record<string, string>} [words]
 */
function formOf(file, points, words = {}) {
  const form = new FormData();
  for (const [name, word] of Object.entries(words)) form.set(name, word);
  if (points) form.set("points", JSON.stringify(points));
  form.set("picture", file, file instanceof File ? file.name : "your picture");
  return form;
}

/**
 * @param {Blob} file
 * @param {Point[] | null} points null where the face is to be found
 * @param {AbortSignal} signal
 * @returns {Promise<Preview>}
 */
export async function lookAt(file, points, signal) {
  const init = { method: "POST", body: formOf(file, points) };
  return (await send("avatars/preview", init, LOOK_WITHIN_MS, signal)).json();
}

/**
 * @param {Blob} file
 * @param {Point[] | null} points
 * @param {AbortSignal} signal
 * @returns {Promise<Blob>} a film in which it speaks
 */
export async function filmOf(file, points, signal) {
  const plays = document.createElement("video").canPlayType('video/mp4; codecs="avc1.64001f, mp4a.40.2"');
  const headers = { Accept: plays ? "video/mp4" : "video/webm" };
  const init = { method: "POST", body: formOf(file, points), headers };
  return (await send("avatars/trial", init, FILM_WITHIN_MS, signal)).blob();
}

/**
 * @param {Blob} file
 * @param {Point[] | null} points
 * @param {{name: string, consent: string}} words
 * @param {AbortSignal} signal
 * @returns {Promise<string>} its id
 */
export async function keep(file, points, words, signal) {
  const init = { method: "POST", body: formOf(file, points, words) };
  return (await (await send("avatars", init, LOOK_WITHIN_MS, signal)).json()).avatar.id;
}

/** @param {string} id of an avatar of one's own */
export async function removeAvatar(id) {
  await send(`avatars/${encodeURIComponent(id)}`, { method: "DELETE" }, LOOK_WITHIN_MS);
}
