/**
 * A picture of one's own becomes a face: chosen, looked at, its points set, tried as a film, kept.
 *
 *   choose ──▶ looking ──▶ frame ──▶ kept
 *      ↑          └──▶ refused ──▶ frame (points by hand)
 *      └─────────────────┴────────────┘
 *
 * In: a file from wherever (`begin`), the elements of the dialog. Out: `onKept` with the new avatar's id. Nothing is kept
 * before the sentence is confirmed; whatever was on its way is dropped when the dialog closes.
 */

import { Chooser, nameFrom } from "./chooser.js";
import { Film } from "./film.js";
import { FramedView } from "./framing.js";
import { PointEditor } from "./points.js";
import { filmOf, keep, lookAt, Refusal } from "./server.js";

/** @typedef {import("./framing.js").Point} Point */
/** @typedef {"choose" | "looking" | "refused" | "frame"} Step */

const LOOK_AGAIN_MS = 500; // after the last point was set

export class Studio {
  /** @type {Blob | null} */
  #file = null;
  /** @type {Point[] | null} set by hand; null as long as the finder's stand */
  #points = null;
  /** @type {import("./server.js").Preview | null} */
  #preview = null;
  /** @type {import("./server.js").SeenPicture | null} */
  #seen = null;
  #work = new AbortController();
  #timer = 0;

  /**
   * @param {HTMLDialogElement} dialog
   * @param {object} surroundings
   * @param {import("../rtc/signalling.js").UploadsConfig} surroundings.config
   * @param {() => boolean} surroundings.isCalling whether the microphone is open now
   * @param {(id: string) => void} surroundings.onKept
   */
  constructor(dialog, { config, isCalling, onKept }) {
    this.dialog = dialog;
    this.config = config;
    this.isCalling = isCalling;
    this.onKept = onKept;
    this.form = this.#part("form", HTMLFormElement);
    this.said = this.#part("said", HTMLElement);
    this.told = this.#part("told", HTMLElement);
    this.framed = new FramedView(this.#part("framed", HTMLCanvasElement));
    this.film = new Film(dialog, this.#part("film", HTMLVideoElement));
    this.trial = this.#part("trial", HTMLButtonElement);
    this.name = this.#part("name", HTMLInputElement);
    this.consent = this.#part("consent", HTMLInputElement);
    this.chooser = new Chooser(
      dialog,
      {
        pick: this.#part("file", HTMLInputElement),
        open: this.#part("open-camera", HTMLButtonElement),
        take: this.#part("take", HTMLButtonElement),
        video: this.#part("camera", HTMLVideoElement),
      },
      (file) => void this.#take(file),
      (sentence) => this.#say(sentence, "error"),
    );
    this.editor = new PointEditor(
      this.#part("points", HTMLElement), this.#part("nearer", HTMLButtonElement), (points, done) => this.#moved(points, done),
    );
    this.#part("consent-text", HTMLElement).textContent = config.consent;
    this.editor.image.addEventListener("load", () => this.#draw());
    this.#listen();
  }

  /** @param {Blob | null} [file] dropped or pasted; without one the dialog asks for it */
  begin(file = null) {
    if (this.#keeping) return;
    this.#forget();
    this.name.value = "";
    this.consent.checked = false;
    this.#go("choose");
    if (!this.dialog.open) this.dialog.showModal();
    if (file) void this.#take(file);
  }

  /**
   * @template {HTMLElement} T
   * @param {string} name
   * @param {new () => T} kind
   * @returns {T}
   */
  #part(name, kind) {
    const element = this.dialog.querySelector(`[data-part="${name}"]`);
    if (!(element instanceof kind)) throw new TypeError(`expected a ${kind.name} as ${name} of the studio, got ${element}`);
    return element;
  }

  #listen() {
    const { dialog } = this;
    dialog.addEventListener("close", () => this.#forget());
    dialog.addEventListener("cancel", (event) => {
      if (this.#keeping) event.preventDefault(); // it would be kept all the same, and nobody told
    });
    for (const again of dialog.querySelectorAll("[data-do=again]")) again.addEventListener("click", () => this.begin());
    dialog.querySelector("[data-do=close]")?.addEventListener("click", () => this.#keeping || dialog.close());
    dialog.querySelector("[data-do=by-hand]")?.addEventListener("click", () => this.#byHand());
    this.trial.addEventListener("click", () => void this.#try());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#keep();
    });
  }

  /** @returns {boolean} whether it is being kept at this moment */
  get #keeping() {
    return this.dialog.dataset.busy === "keep";
  }

  /** Whatever was on its way is dropped, the camera switched off, the film let go. */
  #forget() {
    this.#work.abort(new DOMException("", "AbortError"));
    this.#work = new AbortController();
    clearTimeout(this.#timer);
    this.chooser.close();
    this.film.drop();
    this.#file = this.#points = this.#preview = this.#seen = null;
    delete this.dialog.dataset.busy;
    this.#say("");
  }

  /** @param {Step} step */
  #go(step) {
    this.dialog.dataset.step = step;
    for (const part of this.dialog.querySelectorAll("[data-step]")) {
      if (part instanceof HTMLElement) part.hidden = part.dataset.step !== step;
    }
  }

  /**
   * Says it where it is looked for: beside the frame there is a place that is kept free, so that nothing moves under a
   * hand that drags.
   * @param {string} sentence
   * @param {"calm" | "warn" | "error"} [tone]
   */
  #say(sentence, tone = "calm") {
    const framing = this.dialog.dataset.step === "frame";
    for (const place of [this.said, this.told]) {
      place.textContent = (place === this.told) === framing ? sentence : "";
      place.dataset.tone = tone;
    }
  }

  /**
   * Does something that may be refused or dropped.
   * @param {(signal: AbortSignal) => Promise<void>} work
   * @param {(refusal: Refusal) => void} onRefused
   */
  async #attempt(work, onRefused) {
    const { signal } = this.#work;
    try {
      await work(signal);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof Refusal)) throw error;
      onRefused(error);
    }
  }

  // -- the picture --------------------------------------------------------------------------------------

  /** @param {Blob} file */
  async #take(file) {
    this.#forget();
    if (file.size > this.config.max_bytes) {
      this.#go("choose");
      this.#say(`That file is too large: at most ${Math.floor(this.config.max_bytes / 2 ** 20)} MB.`, "error");
      return;
    }
    this.#file = file;
    if (!this.name.value && file instanceof File) this.name.value = nameFrom(file.name);
    this.#go("looking");
    this.#say("Looking for the face …");
    await this.#attempt(
      async (signal) => this.#showPreview(await lookAt(file, null, signal)),
      (refusal) => this.#refuse(refusal),
    );
  }

  /** @param {Refusal} refusal */
  #refuse(refusal) {
    this.#seen = refusal.picture;
    const seen = this.#part("seen", HTMLImageElement);
    seen.hidden = !refusal.seen;
    if (refusal.seen) seen.src = refusal.seen;
    const byHand = /** @type {HTMLElement} */ (this.dialog.querySelector("[data-do=by-hand]"));
    byHand.hidden = !refusal.picture;
    this.#go("refused");
    this.#say(refusal.message, "error");
  }

  #byHand() {
    if (!this.#seen) return;
    this.#go("frame");
    this.#say("Move the three points onto the eyes and the mouth.");
    this.editor.show(this.#seen, null, null);
    this.#points = this.editor.points;
    this.#lookAgain(0);
  }

  // -- its frame ----------------------------------------------------------------------------------------

  /** @param {import("./server.js").Preview} preview */
  #showPreview(preview) {
    this.#preview = preview;
    this.#go("frame");
    this.#say(preview.notes.join(" "), "warn");
    this.editor.show(preview.picture, preview.points, preview.lines);
    this.framed.show(preview.framed);
    this.trial.focus({ preventScroll: true });
  }

  /** @param {Point[]} points @param {boolean} done */
  #moved(points, done) {
    this.#points = points;
    this.film.drop();
    this.#draw();
    if (done) this.#lookAgain(LOOK_AGAIN_MS);
  }

  /** The frame as this page can draw it: at once, from the reduced picture. */
  #draw() {
    const lines = this.#preview?.lines;
    const picture = this.#preview?.picture ?? this.#seen;
    if (!lines || !picture || !this.#points) return;
    this.framed.draw(this.editor.image, picture.width, this.#points, lines);
  }

  /** The frame as the server cuts it: sharp, and refused where the points are no face. */
  #lookAgain(/** @type {number} */ after_ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const [file, points] = [this.#file, this.#points];
      if (!file || !points) return;
      void this.#attempt(
        async (signal) => {
          const preview = await lookAt(file, points, signal);
          if (points !== this.#points) return;
          this.#preview = preview;
          this.editor.lines = preview.lines;
          this.#say("");
          this.framed.show(preview.framed);
        },
        (refusal) => this.#say(refusal.message, "error"),
      );
    }, after_ms);
  }

  // -- tried, kept --------------------------------------------------------------------------------------

  async #try() {
    const file = this.#file;
    if (!file || this.dialog.dataset.busy) return;
    this.film.drop();
    this.dialog.dataset.busy = "film";
    this.#say("Drawing a few seconds of speech …");
    const { signal } = this.#work;
    const points = this.#points;
    await this.#attempt(
      async () => {
        const film = await filmOf(file, points, signal);
        if (points !== this.#points) return this.#say("");
        const muted = this.isCalling(); // it would come in at the microphone
        this.#say(muted ? "Without sound, since your call is on." : "");
        await this.film.play(film, muted);
      },
      (refusal) => this.#say(refusal.message, "error"),
    );
    if (!signal.aborted) delete this.dialog.dataset.busy;
  }

  async #keep() {
    const file = this.#file;
    if (!file || this.dialog.dataset.busy) return;
    this.dialog.dataset.busy = "keep";
    this.#say("Keeping it …");
    const { signal } = this.#work;
    const words = { name: this.name.value.trim(), consent: this.config.consent };
    await this.#attempt(
      async () => {
        const id = await keep(file, this.#points, words, signal);
        this.dialog.close();
        this.onKept(id);
      },
      (refusal) => this.#say(refusal.message, "error"),
    );
    if (!signal.aborted) delete this.dialog.dataset.busy;
  }
}
