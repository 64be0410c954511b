/**
 * The two sliders: how strongly the voice moves the face, and how closely the face keeps to its picture.
 *
 * In: the server's ranges, the values in force when somebody else turned them. Out: the wish, by `onChange`; it is
 * remembered between visits. A wish of null is the server's own value, so a server with another default gives its own.
 */

import { forget, recall, remember } from "./settings.js";

const STEP = 0.05;
const DIGITS = 2;

/** @typedef {import("../rtc/scale-line.js").ScaleName} ScaleName */
/** @typedef {import("../rtc/scale-line.js").ScaleRange} ScaleRange */
/** @typedef {import("../rtc/scale-line.js").ScaleRanges} ScaleRanges */
/** @typedef {import("../rtc/scale-line.js").ScaleWish} ScaleWish */

const NAMES = /** @type {const} */ (["audio_scale", "reference_scale"]);
const SETTINGS = /** @type {const} */ ({ audio_scale: "audio-scale", reference_scale: "reference-scale" });

/** One slider with its number. */
class Slider {
  /** @type {ScaleRange | null} */
  #range = null;
  /** @type {number | null} */
  wish = null;

  /**
   * @param {HTMLElement} row holds the input and its output
   * @param {ScaleName} name
   * @param {() => void} onTurn the user moved it
   */
  constructor(row, name, onTurn) {
    const input = row.querySelector("input");
    const output = row.querySelector("output");
    if (!input || !output) throw new TypeError(`expected a slider and an output for ${name}`);
    this.name = name;
    this.input = input;
    this.output = output;
    input.addEventListener("input", () => {
      this.set(input.valueAsNumber);
      this.#store();
      onTurn();
    });
  }

  /** @param {ScaleRange} range the server's; a remembered wish comes back if it is inside */
  show(range) {
    this.#range = range;
    this.input.min = String(range.low);
    this.input.max = String(range.high);
    this.input.step = String(STEP);
    this.input.disabled = false;
    const stored = recall(SETTINGS[this.name]);
    const value = stored === null ? NaN : Number(stored);
    this.set(value >= range.low && value <= range.high ? value : range.default);
  }

  /** @param {number} value */
  set(value) {
    const range = this.#range;
    if (!range) return;
    const usual = Math.abs(value - range.default) < STEP / 2;
    const share = (/** @type {number} */ of) => `${(of - range.low) / (range.high - range.low || 1)}`;
    const text = value.toFixed(DIGITS);
    this.wish = usual ? null : value;
    this.input.value = String(value);
    this.input.setAttribute("aria-valuetext", usual ? `${text}, the default` : text);
    this.input.style.setProperty("--at", share(value));
    this.input.style.setProperty("--usual", share(range.default));
    this.output.textContent = text;
  }

  reset() {
    if (!this.#range) return;
    this.set(this.#range.default);
    this.#store();
  }

  #store() {
    if (this.wish === null) forget(SETTINGS[this.name]);
    else remember(SETTINGS[this.name], String(this.wish));
  }
}

export class Scales {
  /** @type {Slider[]} */
  #sliders;

  /**
   * @param {HTMLElement} root holds a `[data-scale]` row for each scale
   * @param {HTMLButtonElement} reset
   * @param {(wish: ScaleWish) => void} onChange the user wants other scales
   */
  constructor(root, reset, onChange) {
    this.#sliders = NAMES.map((name) => {
      const row = root.querySelector(`[data-scale="${name}"]`);
      if (!(row instanceof HTMLElement)) throw new TypeError(`expected a row for ${name}`);
      return new Slider(row, name, () => onChange(this.wish));
    });
    reset.addEventListener("click", () => {
      for (const slider of this.#sliders) slider.reset();
      onChange(this.wish);
    });
  }

  /** @returns {ScaleWish} null where the server's own value is wanted */
  get wish() {
    const [voice, picture] = this.#sliders;
    return { audio_scale: voice.wish, reference_scale: picture.wish };
  }

  /** @param {ScaleRanges} ranges */
  show(ranges) {
    for (const slider of this.#sliders) slider.show(ranges[slider.name]);
  }

  /**
   * Follows the server without a wish of its own, and without remembering.
   * @param {Record<ScaleName, number>} values
   */
  adopt(values) {
    for (const slider of this.#sliders) slider.set(values[slider.name]);
  }
}
