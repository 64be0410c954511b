/**
 * The states of a call and the ways between them.
 *
 *   idle → requesting → connecting → live → retrying → stopped
 *
 * In: moves asked for by the call. Out: the new state; an illegal move throws, since it is a fault of ours.
 */

/** @typedef {"idle" | "requesting" | "connecting" | "live" | "retrying" | "stopped"} CallState */

/** @type {Readonly<Record<CallState, readonly CallState[]>>} */
const NEXT = Object.freeze({
  idle: ["requesting", "stopped"],
  requesting: ["connecting", "stopped"],
  connecting: ["live", "retrying", "stopped"],
  live: ["retrying", "stopped"],
  retrying: ["retrying", "live", "stopped"],
  stopped: ["requesting", "stopped"],
});

/** Holds one call's state. */
export class CallMachine {
  /** @type {CallState} */
  #state = "idle";

  /** @returns {CallState} */
  get state() {
    return this.#state;
  }

  /** @returns {boolean} whether a call is on or on its way */
  get busy() {
    return this.#state !== "idle" && this.#state !== "stopped";
  }

  /**
   * @param {CallState} next
   * @throws {Error} when there is no way from here to `next`
   */
  move(next) {
    if (!NEXT[this.#state].includes(next)) {
      throw new Error(`expected one of ${NEXT[this.#state].join(", ")} after ${this.#state}, got ${next}`);
    }
    this.#state = next;
  }
}
