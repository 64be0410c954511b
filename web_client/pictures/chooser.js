/**
 * Where a picture comes from in the dialog: a file, or the camera.
 *
 * In: presses. Out: `onFile` with the picture, `onTrouble` with a sentence. The camera is on only while it is shown, which
 * `data-camera` on the dialog tells the style sheet.
 */

import { Camera } from "./camera.js";
import { Refusal } from "./server.js";

const NAME_LENGTH = 60;

/**
 * @param {string} fileName
 * @returns {string} a name to begin with: the file's, unless a camera or a screenshot has made it
 */
export function nameFrom(fileName) {
  const bare = fileName.replace(/\.[^.]*$/, "").replace(/[_-]+/g, " ").trim();
  const machine = /\d{3}|^(image|img|photo|picture|bild|screenshot|camera|download|unnamed|pasted)\b/i.test(bare);
  return machine ? "" : bare.slice(0, NAME_LENGTH);
}

export class Chooser {
  #turn = 0; // of all wishes for the camera, the last counts

  /**
   * @param {HTMLDialogElement} dialog
   * @param {{pick: HTMLInputElement, open: HTMLButtonElement, take: HTMLButtonElement, video: HTMLVideoElement}} parts
   * @param {(file: Blob) => void} onFile
   * @param {(sentence: string) => void} onTrouble
   */
  constructor(dialog, { pick, open, take, video }, onFile, onTrouble) {
    this.dialog = dialog;
    this.camera = new Camera(video);
    this.onTrouble = onTrouble;
    pick.addEventListener("change", () => {
      const file = pick.files?.[0];
      pick.value = ""; // the same file may be chosen again
      if (file) onFile(file);
    });
    dialog.addEventListener("dragover", (event) => {
      event.preventDefault();
      dialog.dataset.over = "true";
    });
    for (const end of ["dragleave", "drop"]) dialog.addEventListener(end, () => delete dialog.dataset.over);
    open.hidden = !Camera.thinkable;
    open.addEventListener("click", () => void this.#attempt(() => this.#open()));
    take.addEventListener("click", () => void this.#attempt(async () => onFile(await this.camera.take())));
  }

  /** Switches the camera off, also one that is still opening. */
  close() {
    this.#turn += 1;
    this.camera.close();
    delete this.dialog.dataset.camera;
  }

  async #open() {
    this.close();
    const turn = this.#turn;
    await this.camera.open();
    if (turn === this.#turn) this.dialog.dataset.camera = "on";
    else this.camera.close();
  }

  /** @param {() => Promise<void>} work */
  async #attempt(work) {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.onTrouble(error.message);
    }
  }
}
