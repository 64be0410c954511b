/**
 * One connection's talk about the scales: what this page wants, and what the server says is in force.
 *
 * In: wishes as fast as a slider makes them; the server's messages. Out: at most ten messages a second, the last
 * wish never lost; `onSettled` with the values in force, when no wish of ours is still on its way (an older answer
 * must not pull the slider back under the finger).
 */

const EVERY_MS = 100;

/** @typedef {"audio_scale" | "reference_scale"} ScaleName */
/** @typedef {{low: number, high: number, default: number}} ScaleRange */
/** @typedef {Record<ScaleName, ScaleRange>} ScaleRanges */
/** @typedef {Record<ScaleName, number | null>} ScaleWish null where the server's own value is wanted */

export class ScaleLine {
  #open = false;
  #timer = 0;
  #unanswered = 0;
  /** @type {ScaleWish | null} not sent yet */
  #next = null;

  /**
   * @param {(wish: ScaleWish) => void} send
   * @param {(values: {audio_scale: number, reference_scale: number}) => void} onSettled
   */
  constructor(send, onSettled) {
    this.send = send;
    this.onSettled = onSettled;
  }

  /** @param {ScaleWish} wish */
  want(wish) {
    this.#next = wish;
    if (this.#open && !this.#timer) this.#flush();
  }

  /**
   * The channel is open: what was wanted since the offer goes now, or what others turned since then is taken over.
   * @param {Record<string, unknown>} hello with the values in force
   */
  open(hello) {
    this.#open = true;
    if (this.#next) this.#flush();
    else this.#settle(hello);
  }

  /** The connection is over. */
  close() {
    this.#open = false;
    clearTimeout(this.#timer);
  }

  /** @param {Record<string, unknown>} message "controls", or the notice that a wish was refused */
  hear({ audio_scale, reference_scale, by }) {
    if (by !== "http") this.#unanswered = Math.max(0, this.#unanswered - 1);
    if (this.#unanswered === 0 && !this.#next) this.#settle({ audio_scale, reference_scale });
  }

  /** @param {Record<string, unknown>} values in force */
  #settle({ audio_scale, reference_scale }) {
    if (typeof audio_scale === "number" && typeof reference_scale === "number") {
      this.onSettled({ audio_scale, reference_scale });
    }
  }

  #flush() {
    const wish = this.#next;
    this.#next = null;
    if (!wish) return;
    this.#unanswered += 1;
    this.send(wish);
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      this.#flush();
    }, EVERY_MS);
  }
}
