/**
 * The button that copies the address of the watch page, for OBS or an audience.
 *
 * In: the call's watch id, which lets others watch and nothing else, while it is live. Out: an absolute address on the
 * clipboard; the button says whether it is.
 */

import { copyText } from "./clipboard.js";

const COPIED_FOR_MS = 2000;
const COPIED = "Link copied";
const REFUSED = "Not allowed";

export class WatchLink {
  /** @type {string | null} */
  #id = null;
  #timer = 0;

  /** @param {HTMLButtonElement} button with its text in a span */
  constructor(button) {
    this.button = button;
    this.label = /** @type {HTMLElement} */ (button.querySelector("span"));
    this.text = this.label.textContent;
    button.addEventListener("click", () => void this.#copy());
  }

  /** @param {string | null} id to watch the live call by, or null */
  show(id) {
    this.#id = id;
    this.button.disabled = id === null;
  }

  /** @returns {string | null} the address to watch the call at */
  get address() {
    if (this.#id === null) return null;
    const address = new URL("watch.html", document.baseURI);
    address.searchParams.set("session", this.#id);
    return address.href;
  }

  async #copy() {
    if (this.address === null) return;
    const done = await copyText(this.address);
    clearTimeout(this.#timer);
    this.label.style.minWidth = `${this.label.offsetWidth}px`; // a shorter word moves nothing
    this.label.textContent = done ? COPIED : REFUSED;
    this.button.dataset.copied = String(done);
    this.#timer = setTimeout(() => {
      this.label.textContent = this.text;
      delete this.button.dataset.copied;
    }, COPIED_FOR_MS);
  }
}
