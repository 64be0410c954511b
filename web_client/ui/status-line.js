/**
 * The line that says how the call is: a headline, a sentence, a tone.
 *
 * In: captions, and troubles that the call outlives. Out: text in the page; `onCalm` when a trouble has been told long
 * enough, so that whoever knows the usual words says them again.
 */

/** @typedef {import("../rtc/problems.js").Problem} Problem */
/** @typedef {{headline: string, detail: string, tone: "calm" | "busy" | "live" | "warn" | "error"}} Caption */

export class StatusLine {
  /** @type {import("../rtc/problems.js").ProblemCode | null} */
  #told = null;
  #timer = 0;

  /**
   * @param {object} parts
   * @param {HTMLElement} parts.root
   * @param {HTMLElement} parts.headline
   * @param {HTMLElement} parts.detail
   * @param {() => void} parts.onCalm
   */
  constructor({ root, headline, detail, onCalm }) {
    this.root = root;
    this.headline = headline;
    this.detail = detail;
    this.onCalm = onCalm;
  }

  /** @returns {boolean} whether a trouble stands in place of the usual words */
  get busy() {
    return this.#told !== null;
  }

  /** @param {Caption} caption in place of whatever stands there */
  say({ headline, detail, tone }) {
    clearTimeout(this.#timer);
    this.#told = null;
    this.root.setAttribute("aria-live", tone === "error" ? "assertive" : "polite");
    this.root.dataset.tone = tone;
    setText(this.headline, headline);
    setText(this.detail, detail);
  }

  /**
   * @param {Problem} problem
   * @param {"warn" | "error"} tone
   */
  sayProblem(problem, tone) {
    this.say({ headline: problem.headline, detail: problem.sentence, tone });
  }

  /**
   * @param {Problem} problem that the call outlives
   * @param {number} [for_ms] how long it stands; until `calm` by default
   */
  tell(problem, for_ms) {
    if (this.#told === problem.code && this.detail.textContent === problem.sentence) return;
    this.sayProblem(problem, "warn");
    this.#told = problem.code;
    if (for_ms !== undefined) this.#timer = setTimeout(() => this.calm(problem.code), for_ms);
  }

  /** @param {...import("../rtc/problems.js").ProblemCode} codes of the troubles that are over */
  calm(...codes) {
    if (this.#told === null || !codes.includes(this.#told)) return;
    this.#told = null;
    this.onCalm();
  }
}

/**
 * @param {HTMLElement} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
