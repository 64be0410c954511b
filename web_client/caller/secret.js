/**
 * The secret by which the server knows this tab's call: who sends it comes back to the same call, with the same link to
 * watch it. Kept for the tab, so that it outlives a reload and not the tab.
 *
 * In: what the server's answers say. Out: the same, for the next offer.
 */

const KEY = "fada.call";

/** @type {string | null} where storage is refused */
let held = null;

/** @returns {string | null} */
export function recallSecret() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return held;
  }
}

/** @param {string} secret */
export function keepSecret(secret) {
  held = secret;
  try {
    sessionStorage.setItem(KEY, secret);
  } catch {
    /* Then it lasts until the page is reloaded. */
  }
}

/** The call is over: the next one is another. */
export function forgetSecret() {
  held = null;
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    /* There was nothing to forget. */
  }
}
