/**
 * Watching a call for as long as it lives, its interruptions included.
 *
 * In: the call's watch id. Out: `Scene`s, one after another. The server says when the call is over for good; until
 * then, a lost connection, a caller who reloads and a server that is started again are waited for. A call that nobody
 * knows may begin or come back, so it is looked for every few seconds as well.
 */

import { pause, waitBefore } from "../rtc/backoff.js";
import { Link } from "../rtc/link.js";
import { asProblem, Problem } from "../rtc/problems.js";
import { postViewer } from "../rtc/signalling.js";

const FIRST_PICTURE_WITHIN_MS = 10_000;
/** A call that has gone may come back for a minute by the server's own rule; so long its last picture stays. */
const AWAY_AT_MOST_MS = 75_000;

/** A viewer's connection: it hears when the call is over. */
class ViewerLink extends Link {
  /** @param {Record<string, unknown>} message */
  hear(message) {
    if (message.type === "bye") this.close(new Problem("session_ended"));
  }
}

/**
 * What the page shows.
 * @typedef {object} Screen
 * @property {(link: Link) => Promise<void>} show takes the link's media; resolves when its first picture is there
 * @property {() => void} live
 * @property {() => void} lost at once; the last picture stays until there is another
 * @property {(problem: Problem) => void} interrupted and it is not mended at once
 * @property {(problem: Problem) => void} ended nothing is left to be seen; the call may yet come
 */

/**
 * One try: resolves when the first picture is on the screen.
 * @param {string} session
 * @param {Link} link
 * @param {Screen} screen
 * @param {AbortSignal} signal
 */
async function open(session, link, screen, signal) {
  await link.connect(async (offer) => (await postViewer(session, offer, signal)).description, signal);
  let limit = 0;
  const late = new Promise((_, reject) => {
    limit = setTimeout(() => reject(link.whyDark()), FIRST_PICTURE_WITHIN_MS);
  });
  try {
    await Promise.race([screen.show(link), link.ended, late]);
  } finally {
    clearTimeout(limit);
  }
}

/**
 * Watches until the call is over, cannot be watched, or the signal aborts.
 * @param {string} session
 * @param {() => Promise<RTCIceServer[]>} findServers
 * @param {Screen} screen
 * @param {AbortSignal} signal
 * @returns {Promise<Problem>} why it is over
 */
export async function watch(session, findServers, screen, signal) {
  /** @type {number | null} when it was last live */
  let seenAt_ms = null;
  for (let attempt = 1; ; attempt += 1) {
    const link = new ViewerLink("recvonly", await findServers());
    const leave = () => {
      link.sayBye();
      link.close(signal.reason);
    };
    signal.addEventListener("abort", leave);
    try {
      await open(session, link, screen, signal);
      attempt = 0;
      screen.live();
      await link.ended;
    } catch (error) {
      link.close(error);
      signal.throwIfAborted();
      const problem = asProblem(error);
      if (!problem.retry) return problem;
      if (attempt === 0) {
        seenAt_ms = performance.now();
        screen.lost();
      }
      const gone = problem.code === "unknown_session";
      const away = seenAt_ms !== null && performance.now() - seenAt_ms < AWAY_AT_MOST_MS;
      // The first new try is made before anything is said: as a rule it mends the loss, or tells of the end.
      if (gone && !away) screen.ended(seenAt_ms === null ? problem : new Problem("session_ended", { cause: problem }));
      else if (gone) screen.interrupted(new Problem("session_away", { cause: problem }));
      else if (attempt > 0) screen.interrupted(problem);
      await pause(waitBefore(Math.max(1, attempt)), signal);
    } finally {
      signal.removeEventListener("abort", leave);
    }
  }
}
