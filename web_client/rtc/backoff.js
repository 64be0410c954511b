/**
 * How long to wait before each new try: 0.5 s, 1, 2, 4, then 8 s, each shortened by up to a fifth at random
 * so that many pages do not return to a restarted server in the same instant.
 */

const FIRST_S = 0.5;
const LONGEST_S = 8;
const SPREAD = 0.2;

/** Tries before the page gives up and lets go of the microphone: about 80 s in all. */
export const MOST_TRIES = 13;

/**
 * @param {number} attempt 1 for the first new try
 * @param {() => number} [random] in [0, 1), for tests
 * @returns {number} seconds
 */
export function waitBefore(attempt, random = Math.random) {
  const full_s = Math.min(LONGEST_S, FIRST_S * 2 ** (attempt - 1));
  return full_s * (1 - SPREAD * random());
}

/**
 * A wait that ends early when the signal aborts.
 * @param {number} wait_s
 * @param {AbortSignal} signal
 * @returns {Promise<void>} rejects with the signal's reason when aborted
 */
export function pause(wait_s, signal) {
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", onAbort);
      resolve();
    }, wait_s * 1000);
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
  });
}

/**
 * Asks until there is an answer, with growing waits.
 * @template T
 * @param {() => Promise<T>} ask
 * @param {(error: unknown) => void} onTrouble called after every failed try
 * @returns {Promise<T>}
 */
export async function askUntilAnswered(ask, onTrouble) {
  const never = new AbortController().signal;
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await ask();
    } catch (error) {
      onTrouble(error);
      await pause(waitBefore(attempt), never);
    }
  }
}
