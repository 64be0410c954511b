/**
 * The row of figures under the portrait.
 *
 * In: the peer's figures once a second, pictures counted on the page. Out: text in `[data-figure]` elements.
 * Every figure keeps its width (tabular digits), so nothing moves when it changes; "–" means unknown.
 */

import { recall, remember } from "./settings.js";

const UNKNOWN = "–";

/** @type {Readonly<Record<string, string>>} */
const LINK_WORDS = Object.freeze({
  new: "starting",
  connecting: "joining",
  connected: "good",
  disconnected: "weak",
  failed: "failed",
  closed: "off",
});

/**
 * @param {unknown} value
 * @returns {number | null}
 */
function asNumber(value) {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

/** @param {number | null} value */
function whole(value) {
  return value === null ? UNKNOWN : String(Math.round(value));
}

/** @param {number | null} value */
function signed(value) {
  if (value === null) return UNKNOWN;
  const rounded = Math.round(value);
  if (rounded === 0) return "0";
  return rounded > 0 ? `+${rounded}` : `−${-rounded}`;
}

/** @param {number | null} value */
function scale(value) {
  return value === null ? UNKNOWN : value.toFixed(2);
}

export class Hud {
  /** @type {Map<string, HTMLElement>} */
  #cells = new Map();
  #since_ms = 0;

  /**
   * @param {HTMLElement} root
   * @param {HTMLButtonElement} toggle
   */
  constructor(root, toggle) {
    for (const cell of root.querySelectorAll("[data-figure]")) {
      if (cell instanceof HTMLElement) this.#cells.set(cell.dataset.figure ?? "", cell);
    }
    const show = (/** @type {boolean} */ on) => {
      root.hidden = !on;
      toggle.setAttribute("aria-pressed", String(on));
      toggle.setAttribute("aria-label", on ? "Hide the figures" : "Show the figures");
    };
    show(recall("figures") !== "off");
    toggle.addEventListener("click", () => {
      show(root.hidden !== false);
      remember("figures", root.hidden ? "off" : "on");
    });
  }

  /** Forgets all figures, for a new call or the end of one. */
  clear(link = "off") {
    for (const [name, cell] of this.#cells) cell.textContent = name === "link" ? link : UNKNOWN;
    this.#since_ms = performance.now();
  }

  /**
   * @param {import("../rtc/peer.js").Figures} figures
   * @returns {number | null} pictures per second
   */
  update({ server, link, rtt_ms, pictures }) {
    const now_ms = performance.now();
    const counted = pictures === null ? link.fps : (1000 * pictures) / (now_ms - this.#since_ms);
    this.#since_ms = now_ms;
    const inServer_ms = asNumber(server.latency_ms);
    const onTheWay_ms = (link.rtt_ms ?? rtt_ms ?? 0) + (link.way_ms ?? 0);
    this.#set("fps", counted === null ? UNKNOWN : counted.toFixed(1));
    this.#set("latency", whole(inServer_ms === null ? null : inServer_ms + onTheWay_ms));
    this.#set("skew", signed(link.skew_ms));
    this.#set("dropped", whole((asNumber(server.dropped) ?? 0) + link.framesDropped));
    this.#set("size", link.width && link.height ? `${link.width}×${link.height}` : UNKNOWN);
    this.#set("expression", scale(asNumber(server.audio_scale)));
    this.#set("likeness", scale(asNumber(server.reference_scale)));
    this.#set("link", LINK_WORDS[link.state] ?? link.state);
    return counted;
  }

  /**
   * @param {string} name
   * @param {string} text
   */
  #set(name, text) {
    const cell = this.#cells.get(name);
    if (cell && cell.textContent !== text) cell.textContent = text;
  }
}
