/**
 * The state of the call in plain words.
 *
 * In: a `StateChange` and the avatar's name. Out: headline, detail and tone of the status line.
 */

import { MOST_TRIES } from "../rtc/backoff.js";

/** @typedef {import("../ui/status-line.js").Caption} Caption */

/**
 * @param {number} wait_s
 * @returns {string}
 */
function inSeconds(wait_s) {
  return wait_s < 1.5 ? "in a second" : `in ${Math.round(wait_s)} seconds`;
}

/**
 * A live call with too few pictures.
 * @returns {Caption}
 */
export function captionForSlow() {
  return { headline: "You are live", detail: "Few pictures come through: the server or the network is busy.", tone: "warn" };
}

/**
 * The page was reloaded in the middle of a call, or opened again in its tab.
 * @returns {Caption}
 */
export function captionForReturn() {
  return { headline: "Your call waits for you", detail: "Press Start to go on. Its watch link is still the same.", tone: "calm" };
}

/**
 * @param {import("./call.js").StateChange} change
 * @param {string} name of the avatar
 * @returns {Caption}
 */
export function captionFor({ state, problem, attempt, wait_s }, name) {
  switch (state) {
    case "idle":
      return { headline: "Ready when you are", detail: "Choose a face, press Start and speak.", tone: "calm" };
    case "requesting":
      return { headline: "Asking for your microphone", detail: "Your browser may want you to allow it.", tone: "busy" };
    case "connecting":
      return { headline: "Connecting", detail: `${name} will be with you in a moment.`, tone: "busy" };
    case "live":
      return { headline: "You are live", detail: `Speak, and ${name} speaks with you.`, tone: "live" };
    case "retrying": {
      const next = wait_s > 0 ? `Trying again ${inSeconds(wait_s)}` : "Trying again now";
      return {
        headline: problem?.headline ?? "Connecting again",
        detail: `${problem?.sentence ?? ""} ${next} (${attempt} of ${MOST_TRIES}).`.trim(),
        tone: "warn",
      };
    }
    case "stopped":
      if (problem) return { headline: problem.headline, detail: problem.sentence, tone: "error" };
      return { headline: "Call ended", detail: "Your microphone is off. Press Start for another call.", tone: "calm" };
  }
}
