/**
 * A call from Start to Stop: microphone, connection, first picture, and new tries when it is lost.
 *
 * In: `start`, `stop`, `changeAvatar`, `changeScales`, `changeMicrophone`. Out: events "state" (detail:
 * `StateChange`), "microphone" (detail: MediaStream or null), "media" (detail: MediaStream or null), and the
 * peer's "figures", "speaking", "avatar", "scales" and "watchable" (its watch id, null when it is over). The microphone stays open across new tries and is let go
 * at the end, whatever the end is.
 */

import { MOST_TRIES, pause, waitBefore } from "../rtc/backoff.js";
import { Peer } from "../rtc/peer.js";
import { asProblem, Problem } from "../rtc/problems.js";
import { closeMicrophone, openMicrophone } from "./microphone.js";
import { CallMachine } from "./state.js";

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

export class Call extends EventTarget {
  #machine = new CallMachine();
  /** @type {AbortController | null} */
  #running = null;
  /** @type {Peer | null} */
  #peer = null;
  /** @type {MediaStream | null} */
  #microphone = null;
  /** @type {string | null} */
  #avatar = null;
  /** @type {ScaleWish} */
  #scales = { audio_scale: null, reference_scale: null };
  #wasLive = false;

  /**
   * @param {object} screen what shows the call's media
   * @param {() => Promise<void>} screen.awaitFirstFrame resolves when the next picture is on the screen
   * @param {() => import("../rtc/stats.js").Seen | null} screen.takeSeen what was seen since the last call
   */
  constructor(screen) {
    super();
    this.screen = screen;
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
      this.#peer = this.#newPeer();
      await this.#openMicrophone(deviceId, running.signal);
      performance.mark("fada:microphone");
      await this.#keepConnected(running.signal);
    } catch (error) {
      const reason = running.signal.aborted ? running.signal.reason : error;
      if (reason !== STOPPED) problem = asProblem(reason);
    } finally {
      this.#release();
      this.#move("stopped", problem);
    }
  }

  /** Ends the call and lets go of the microphone. */
  stop() {
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

  /** @param {string} deviceId */
  async changeMicrophone(deviceId) {
    const running = this.#running;
    if (!this.#machine.busy || !running || !this.#microphone) return;
    const before = this.#microphone;
    try {
      await this.#openMicrophone(deviceId, running.signal);
      const [track] = this.#microphone.getAudioTracks();
      await this.#peer?.replaceMicrophone(track);
      closeMicrophone(before);
    } catch (error) {
      this.#fail(asProblem(error));
    }
  }

  /**
   * @param {string} deviceId
   * @param {AbortSignal} signal
   */
  async #openMicrophone(deviceId, signal) {
    const stream = await openMicrophone(deviceId);
    if (signal.aborted) {
      closeMicrophone(stream);
      throw signal.reason;
    }
    this.#microphone = stream;
    const [track] = stream.getAudioTracks();
    track.addEventListener("ended", () => {
      if (this.#microphone === stream) this.#fail(new Problem("microphone_lost"));
    });
    this.#emit("microphone", stream);
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
    if (!this.#microphone) throw new Problem("microphone_lost");
    const [track] = this.#microphone.getAudioTracks();
    const peer = (this.#peer ??= this.#newPeer());
    for (const type of ["figures", "speaking", "avatar", "watchable"]) {
      peer.addEventListener(type, (event) => this.#emit(type, /** @type {CustomEvent} */ (event).detail));
    }
    peer.addEventListener("scales", (event) => {
      this.#scales = /** @type {CustomEvent} */ (event).detail; // a new try begins where this one was
      this.#emit("scales", this.#scales);
    });
    await peer.open(track, this.#avatar, this.#scales, signal);
    this.#emit("media", peer.media);
    let limit = 0;
    const late = new Promise((_, reject) => {
      limit = setTimeout(() => {
        reject(new Problem(peer.linkState === "connected" ? "no_video" : "blocked_network"));
      }, FIRST_FRAME_WITHIN_MS);
    });
    try {
      await Promise.race([this.screen.awaitFirstFrame(), peer.ended, late]);
    } finally {
      clearTimeout(limit);
    }
    performance.mark("fada:first-frame");
    return peer;
  }

  #newPeer() {
    return new Peer(() => this.screen.takeSeen());
  }

  #dropPeer() {
    this.#peer?.close(STOPPED);
    this.#peer = null;
    this.#emit("media", null);
    this.#emit("watchable", null);
  }

  #release() {
    this.#dropPeer();
    closeMicrophone(this.#microphone);
    this.#microphone = null;
    this.#running = null;
    this.#emit("microphone", null);
  }

  /** @param {Problem} problem that ends the call */
  #fail(problem) {
    this.#running?.abort(problem);
    this.#peer?.close(problem);
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
