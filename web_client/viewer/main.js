/**
 * The watch page: somebody else's face and voice, for OBS or an audience. `watch.html?session=ID`
 *
 * In: the call's watch id from the address. Out: the picture edge to edge, the sound where the browser allows it; words
 * only when there is no picture to show. What was seen last stays on the screen until there is something newer.
 */

import { Problem } from "../rtc/problems.js";
import { rememberIceServers } from "../rtc/signalling.js";
import { awaitPicture } from "../ui/stage.js";
import { watch } from "./watch.js";

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
const still = part("still", HTMLCanvasElement);
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
  const line = what && `${what}.`;
  if (headline.textContent !== line) headline.textContent = line;
  if (sentence.textContent !== more) sentence.textContent = more;
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

/** Copies the picture while there is one: a video whose connection is lost has nothing left to copy. */
function keepPicture() {
  const context = still.getContext("2d");
  if (!still.hidden || !context || face.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return;
  if (still.width !== face.videoWidth || still.height !== face.videoHeight) {
    still.width = face.videoWidth;
    still.height = face.videoHeight;
  }
  context.drawImage(face, 0, 0);
}

/** @type {import("./watch.js").Screen} */
const screen = {
  async show(link) {
    face.srcObject = link.media;
    void play();
    await awaitPicture(face);
    link.addEventListener("figures", keepPicture); // once a second
  },
  live() {
    still.hidden = true;
    keepPicture();
    say("live");
  },
  lost() {
    still.hidden = false;
  },
  interrupted(problem) {
    say("retrying", problem.headline, `${problem.sentence} Trying again by itself.`);
  },
  ended(problem) {
    face.srcObject = null;
    still.hidden = true;
    sound.hidden = true;
    say("ended", problem.headline, problem.sentence);
  },
};

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
  const { lacks, oldest } = document.documentElement.dataset; // ui/first-look.js
  if (lacks) return screen.ended(new Problem("too_old", { sentence: `It lacks ${lacks}. Use ${oldest}.` }));
  if (!window.RTCPeerConnection) return screen.ended(new Problem("unsupported"));
  if (session) screen.ended(await watch(session, rememberIceServers(), screen, leaving.signal));
  else screen.ended(new Problem("no_session"));
}

void main().catch((error) => {
  if (!(error instanceof Problem)) throw error; // A fault of ours; leaving the page is none.
});
document.documentElement.dataset.ready = "";
