/**
 * A call from Start to Stop: microphone, connection, first picture, and new tries when it is lost.
 *
 * In: `start`, `stop`, `leave`, `changeAvatar`, `changeScales`, `changeMicrophone`. Out: events "state" (detail:
 * `StateChange`), "microphone" (detail: MediaStream or null), "trouble" (detail: a `Problem` that the call outlives),
 * "media" (detail: MediaStream or null), and the peer's "figures", "speaking", "avatar", "scales" and "watchable" (its
 * watch id, null when it is over). The microphone stays open across new tries and is let go at the end, whatever the
 * end is. The call's secret outlives its connections and a reload: with it the server knows the call again, and its
 * link to watch stays the same.
 */

import { MOST_TRIES, pause, waitBefore } from "../rtc/backoff.js";
import { Peer } from "../rtc/peer.js";
import { asProblem, Problem } from "../rtc/problems.js";
import { forgetSecret, keepSecret, recallSecret } from "./secret.js";
import { CallMachine } from "./state.js";
import { Voice } from "./voice.js";

/** Marks on the page's timeline from Start to the first picture, for measuring. */
const STEPS = ["fada:start", "fada:microphone", "fada:offer", "fada:answer", "fada:first-frame"];
const FIRST_FRAME_WITHIN_MS = 10_000;
const SEAT_FREES_WITHIN_TRIES = 6; // after a loss our own old seat may still be counted

/** @typedef {import("./state.js").CallState} CallState */
/** @typedef {import("../rtc/scale-line.js").ScaleWish} ScaleWish */
/**
 * @typedef {object} StateChange
 * @property {CallState} state
 * @property {Problem | null} problem why, when something went wrong
 * @property {number} attempt new tries so far, 0 at first
 * @property {number} wait_s until the next try, 0 when it is under way
 */

/** The reason of this page's own doing. */
const STOPPED = Symbol("stopped by the user");

/**
 * @typedef {object} Surroundings
 * @property {() => Promise<void>} awaitFirstFrame resolves when the next picture is on the screen
 * @property {() => import("../rtc/stats.js").Seen | null} takeSeen what was seen since the last call
 * @property {() => Promise<RTCIceServer[]>} findServers that help to find a way through the network
 */

export class Call extends EventTarget {
  #machine = new CallMachine();
  /** @type {AbortController | null} */
  #running = null;
  /** @type {Peer | null} */
  #peer = null;
  #voice = new Voice(
    (stream) => this.#send(stream),
    (problem) => this.#emit("trouble", problem),
  );
  /** @type {string | null} */
  #avatar = null;
  /** @type {ScaleWish} */
  #scales = { audio_scale: null, reference_scale: null };
  #wasLive = false;

  /** @param {Surroundings} surroundings */
  constructor(surroundings) {
    super();
    this.surroundings = surroundings;
  }

  /** @returns {boolean} */
  get busy() {
    return this.#machine.busy;
  }

  /**
   * @param {string | null} avatar id
   * @param {ScaleWish} scales
   * @param {string} deviceId of the microphone, "" for the default
   */
  async start(avatar, scales, deviceId) {
    if (this.#machine.busy) return;
    for (const step of STEPS) performance.clearMarks(step);
    performance.mark("fada:start");
    const running = new AbortController();
    this.#running = running;
    this.#avatar = avatar;
    this.#scales = scales;
    this.#wasLive = false;
    /** @type {Problem | null} */
    let problem = null;
    try {
      this.#move("requesting");
      const peer = this.#makePeer(running.signal); // It gathers its addresses while the microphone opens.
      peer.catch(() => {}); // Waited for below, unless the microphone fails first.
      await this.#voice.open(deviceId);
      running.signal.throwIfAborted();
      performance.mark("fada:microphone");
      await peer;
      await this.#keepConnected(running.signal);
    } catch (error) {
      const reason = running.signal.aborted ? running.signal.reason : error;
      if (reason !== STOPPED) problem = asProblem(reason);
    } finally {
      running.abort(STOPPED); // nothing that is still on its way begins now
      this.#release();
      this.#move("stopped", problem);
    }
  }

  /** Ends the call for everybody and lets go of the microphone. */
  stop() {
    forgetSecret();
    this.#peer?.sayBye();
    this.leave();
  }

  /** Ends this page's part alone: the server keeps the call for a minute, and the secret leads back to it. */
  leave() {
    this.#running?.abort(STOPPED);
    this.#peer?.close(STOPPED);
  }

  /** @param {string} avatar id; in a call the face changes at once */
  changeAvatar(avatar) {
    this.#avatar = avatar;
    this.#peer?.changeAvatar(avatar);
  }

  /** @param {ScaleWish} scales; in a call they count from the next window on */
  changeScales(scales) {
    this.#scales = scales;
    this.#peer?.changeScales(scales);
  }

  /** @returns {string} the device id of the microphone that is heard, "" where none is */
  get microphoneId() {
    return this.#voice.deviceId;
  }

  /**
   * @param {string} deviceId "" for the default one
   * @returns {Promise<boolean>} whether it is on; where it does not open, the one before is
   */
  changeMicrophone(deviceId) {
    return this.#voice.choose(deviceId);
  }

  /** The system has other microphones than before. */
  microphonesChanged() {
    return this.#voice.lookAgain();
  }

  /** @param {MediaStream | null} stream of the microphone that is to be heard from now on; null is silence */
  async #send(stream) {
    this.#emit("microphone", stream);
    await this.#peer?.replaceMicrophone(stream?.getAudioTracks()[0] ?? null);
  }

  /**
   * Connects, stays connected, and tries again with growing waits.
   * @param {AbortSignal} signal
   * @returns {Promise<never>} ends by rejecting: stopped, or a problem that new tries cannot mend
   */
  async #keepConnected(signal) {
    this.#move("connecting");
    for (let attempt = 0; ; ) {
      try {
        const peer = await this.#connect(signal);
        attempt = 0;
        this.#wasLive = true;
        this.#move("live");
        await peer.ended;
      } catch (error) {
        this.#dropPeer();
        signal.throwIfAborted();
        const problem = asProblem(error);
        attempt += 1;
        if (!this.#mayRetry(problem, attempt)) throw problem;
        if (attempt > MOST_TRIES) throw new Problem("gave_up", { cause: problem });
        const wait_s = waitBefore(attempt);
        this.#move("retrying", problem, attempt, wait_s);
        await pause(wait_s, signal);
        this.#move("retrying", problem, attempt);
      }
    }
  }

  /**
   * @param {Problem} problem
   * @param {number} attempt
   */
  #mayRetry(problem, attempt) {
    const ownSeat = problem.code === "server_full" && this.#wasLive && attempt <= SEAT_FREES_WITHIN_TRIES;
    return problem.retry || ownSeat;
  }

  /**
   * One try: resolves when the first picture is on the screen.
   * @param {AbortSignal} signal
   */
  async #connect(signal) {
    const peer = this.#peer ?? (await this.#makePeer(signal));
    for (const type of ["figures", "speaking", "avatar", "watchable"]) {
      peer.addEventListener(type, (event) => this.#emit(type, /** @type {CustomEvent} */ (event).detail));
    }
    peer.addEventListener("scales", (event) => {
      this.#scales = /** @type {CustomEvent} */ (event).detail; // a new try begins where this one was
      this.#emit("scales", this.#scales);
    });
    const wish = { avatar: this.#avatar, scales: this.#scales, secret: recallSecret() };
    const secret = await peer.open(this.#voice.track, wish, signal);
    if (secret) keepSecret(secret);
    this.#emit("media", peer.media);
    let limit = 0;
    const late = new Promise((_, reject) => {
      limit = setTimeout(() => reject(peer.whyDark()), FIRST_FRAME_WITHIN_MS);
    });
    try {
      await Promise.race([this.surroundings.awaitFirstFrame(), peer.ended, late]);
    } finally {
      clearTimeout(limit);
    }
    performance.mark("fada:first-frame");
    return peer;
  }

  /** @param {AbortSignal} signal */
  async #makePeer(signal) {
    const servers = await this.surroundings.findServers();
    signal.throwIfAborted();
    this.#peer = new Peer(servers, () => this.surroundings.takeSeen());
    return this.#peer;
  }

  #dropPeer() {
    this.#peer?.close(STOPPED);
    this.#peer = null;
    this.#emit("media", null);
    this.#emit("watchable", null);
  }

  #release() {
    this.#dropPeer();
    this.#voice.close();
    this.#running = null;
  }

  /**
   * @param {CallState} state
   * @param {Problem | null} [problem]
   */
  #move(state, problem = null, attempt = 0, wait_s = 0) {
    this.#machine.move(state);
    /** @type {StateChange} */
    const change = { state, problem, attempt, wait_s };
    this.#emit("state", change);
  }

  /**
   * @param {string} type
   * @param {unknown} detail
   */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
