/**
 * The watch page: somebody else's face and voice, for OBS or an audience. `watch.html?session=ID`
 *
 * In: the call's watch id from the address. Out: the picture edge to edge, the sound where the browser allows it; words only
 * when there is no picture to show. Tries again with growing waits for as long as the call lives: the server says when
 * it does not.
 */

import { pause, waitBefore } from "../rtc/backoff.js";
import { Link } from "../rtc/link.js";
import { asProblem, Problem } from "../rtc/problems.js";
import { postViewer } from "../rtc/signalling.js";
import { awaitPicture } from "../ui/stage.js";

const FIRST_PICTURE_WITHIN_MS = 10_000;

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} kind
 * @returns {T}
 */
function part(id, kind) {
  const element = document.getElementById(id);
  if (!(element instanceof kind)) throw new TypeError(`expected a ${kind.name} with id ${id}, got ${element}`);
  return element;
}

const face = part("face", HTMLVideoElement);
const sound = part("sound", HTMLButtonElement);
const headline = part("headline", HTMLElement);
const sentence = part("sentence", HTMLElement);

/** @typedef {"connecting" | "live" | "retrying" | "ended"} WatchState */

/**
 * @param {WatchState} state
 * @param {string} [what]
 * @param {string} [more]
 */
function say(state, what = "", more = "") {
  document.body.dataset.state = state;
  headline.textContent = what && `${what}.`;
  sentence.textContent = more;
}

/** Plays with sound, or without it and with the button when the browser wants a press first. */
async function play() {
  try {
    await face.play();
  } catch (error) {
    const refused = error instanceof DOMException && error.name === "NotAllowedError";
    if (!refused || face.muted) return; // Another stream took its place, or nothing more can be done.
    face.muted = true;
    sound.hidden = false;
    await face.play().catch(() => {});
  }
}

/**
 * One try: resolves when the first picture is on the screen.
 * @param {string} session
 * @param {Link} link
 * @param {AbortSignal} signal
 */
async function open(session, link, signal) {
  await link.connect((offer) => postViewer(session, offer, signal), signal);
  face.srcObject = link.media;
  void play();
  let limit = 0;
  const late = new Promise((_, reject) => {
    const expire = () => reject(new Problem(link.linkState === "connected" ? "no_video" : "blocked_network"));
    limit = setTimeout(expire, FIRST_PICTURE_WITHIN_MS);
  });
  try {
    await Promise.race([awaitPicture(face), link.ended, late]);
  } finally {
    clearTimeout(limit);
  }
}

/**
 * Watches until the call is over or cannot be watched. The last picture stays while the connection is made again.
 * @param {string} session
 * @param {AbortSignal} signal
 * @returns {Promise<Problem>} why it is over
 */
async function watch(session, signal) {
  let wasLive = false;
  let link = new Link("recvonly");
  signal.addEventListener("abort", () => link.close(signal.reason));
  for (let attempt = 0; ; link = new Link("recvonly")) {
    try {
      await open(session, link, signal);
      attempt = 0;
      wasLive = true;
      say("live");
      await link.ended;
    } catch (error) {
      link.close(error);
      signal.throwIfAborted();
      const problem = asProblem(error);
      if (problem.code === "unknown_session" && wasLive) return new Problem("session_ended", { cause: problem });
      if (!problem.retry) return problem;
      attempt += 1;
      // The first new try is made before anything is said: as a rule it mends the loss, or tells of the end.
      if (attempt > 1 || !wasLive) say("retrying", problem.headline, "Trying again by itself.");
      await pause(waitBefore(attempt), signal);
    }
  }
}

async function main() {
  const leaving = new AbortController();
  addEventListener("pagehide", () => leaving.abort(new Problem("lost")));
  sound.addEventListener("click", () => {
    face.muted = false;
    sound.hidden = true;
    void play();
  });
  say("connecting", "Connecting");
  const session = new URLSearchParams(location.search).get("session");
  const over = session ? await watch(session, leaving.signal) : new Problem("no_session");
  face.srcObject = null;
  sound.hidden = true;
  say("ended", over.headline, over.sentence);
}

void main().catch((error) => {
  if (!(error instanceof Problem)) throw error; // A fault of ours; leaving the page is none.
});
