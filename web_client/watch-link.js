/**
 * The button that copies the address of the watch page, for OBS or an audience.
 *
 * In: the session's id while a call is live. Out: an absolute address on the clipboard; the button says whether it is.
 */

const COPIED_FOR_MS = 2000;
const COPIED = "Link copied";
const REFUSED = "Not allowed";

export class WatchLink {
  /** @type {string | null} */
  #session = null;
  #timer = 0;

  /** @param {HTMLButtonElement} button with its text in a span */
  constructor(button) {
    this.button = button;
    this.label = /** @type {HTMLElement} */ (button.querySelector("span"));
    this.text = this.label.textContent;
    button.addEventListener("click", () => void this.#copy());
  }

  /** @param {string | null} session id of the live call, or null */
  show(session) {
    this.#session = session;
    this.button.disabled = session === null;
  }

  /** @returns {string | null} the address to watch the call at */
  get address() {
    if (this.#session === null) return null;
    const address = new URL("watch.html", document.baseURI);
    address.searchParams.set("session", this.#session);
    return address.href;
  }

  async #copy() {
    if (this.address === null) return;
    const done = await navigator.clipboard.writeText(this.address).then(
      () => true,
      () => false,
    );
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
