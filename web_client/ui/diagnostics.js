/**
 * What goes on in a call, for those who look closer or report a fault: a dialog with the server's stages and the
 * browser's counts, and a button that copies all of it as JSON.
 *
 * In: the peer's figures once a second. Out: text in the dialog, JSON on the clipboard. No names, no addresses.
 */

import { copyText } from "./clipboard.js";

const COPIED_FOR_MS = 2000;
const MARK = "fada:";

/** @type {Readonly<Record<string, string>>} names of the server's stages; others are shown as they are called */
const STAGES = Object.freeze({
  open: "Open the picture",
  queue: "Wait for the engine",
  engine: "Engine",
  engine_audio: "— hear",
  engine_denoise: "— imagine",
  engine_decode: "— paint",
  return: "Back to the call",
  encode: "Encode the picture",
});

/**
 * @param {unknown} value
 * @param {number} [digits]
 */
function shown(value, digits = 1) {
  return typeof value === "number" && Number.isFinite(value) ? value.toFixed(digits) : "–";
}

export class Diagnostics {
  /** @type {import("../rtc/peer.js").Figures | null} */
  #figures = null;
  #dialog;
  #stages;
  #counts;
  #copy;

  /**
   * @param {HTMLDialogElement} dialog
   * @param {HTMLButtonElement} opener
   */
  constructor(dialog, opener) {
    this.#dialog = dialog;
    this.#stages = /** @type {HTMLElement} */ (dialog.querySelector("[data-part=stages]"));
    this.#counts = /** @type {HTMLElement} */ (dialog.querySelector("[data-part=counts]"));
    this.#copy = /** @type {HTMLButtonElement} */ (dialog.querySelector("[data-part=copy]"));
    opener.addEventListener("click", () => {
      dialog.showModal();
      this.#draw();
    });
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close(); // The shade around it.
    });
    this.#copy.addEventListener("click", () => void this.#copyAll());
  }

  /** @param {import("../rtc/peer.js").Figures | null} figures null between calls: the last ones stay, to be copied */
  update(figures) {
    if (figures) this.#figures = figures;
    if (this.#dialog.open) this.#draw();
  }

  /** @returns {Record<string, unknown>} everything that is known, as it is copied */
  report() {
    const marks = performance.getEntriesByType("mark").filter(({ name }) => name.startsWith(MARK));
    const start_ms = marks[0]?.startTime ?? 0;
    return {
      page: "fada-live",
      at: new Date().toISOString(),
      browser: navigator.userAgent,
      state: document.body.dataset.state,
      start_ms: Object.fromEntries(
        marks.map(({ name, startTime }) => [name.slice(MARK.length), Math.round(startTime - start_ms)]),
      ),
      ...this.#figures,
    };
  }

  #draw() {
    const { server, link, rtt_ms } = this.#figures ?? {};
    const stages = /** @type {Record<string, {p50?: number, p95?: number}>} */ (server?.stages ?? {});
    this.#stages.replaceChildren(
      ...Object.entries(stages).map(([name, { p50, p95 }]) => row(STAGES[name] ?? name, shown(p50), shown(p95))),
    );
    /** @type {[string, string][]} */
    const counts = [
      ["Way there and back", `${shown(link?.rtt_ms ?? rtt_ms, 0)} ms`],
      ["Picture waits in the browser", `${shown(link?.buffer_ms, 0)} ms`],
      ["Picture is on the screen after", `${shown(link?.way_ms, 0)} ms`],
      ["Sound waits in the browser", `${shown(link?.voiceBuffer_ms, 0)} ms`],
      ["Picture is decoded in", `${shown(link?.decode_ms)} ms`],
      ["Picture behind sound here", `${shown(link?.skew_ms, 0)} ms`],
      ["Picture stood still", `${shown(link?.freezes, 0)} times, ${shown(link?.frozen_s)} s`],
      ["Lost packets, picture and voice", `${shown(link?.packetsLost, 0)} and ${shown(link?.voicePacketsLost, 0)}`],
      ["Sound made up for losses", `${shown(100 * (link?.voicePatched ?? NaN))} %`],
      ["Picture may cost", `${shown(Number(server?.bit_rate) / 1000, 0)} kb/s`],
      ["Others who watch", shown(server?.viewers, 0)],
      ["Engine is busy", `${shown(100 * Number(server?.busy), 0)} %`],
    ];
    this.#counts.replaceChildren(...counts.map(([name, value]) => row(name, value)));
  }

  async #copyAll() {
    const text = JSON.stringify(this.report(), null, 2);
    const done = await copyText(text);
    const label = this.#copy.textContent;
    this.#copy.disabled = true;
    this.#copy.textContent = done ? "Copied" : "This browser does not allow it";
    setTimeout(() => {
      this.#copy.disabled = false;
      this.#copy.textContent = label;
    }, COPIED_FOR_MS);
  }
}

/**
 * @param {string} name
 * @param {string[]} values
 */
function row(name, ...values) {
  const line = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = name;
  line.append(
    head,
    ...values.map((value) => {
      const cell = document.createElement("td");
      cell.textContent = value;
      return cell;
    }),
  );
  return line;
}
