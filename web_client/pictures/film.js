/**
 * The film of the trial, over the frame that it was drawn from.
 *
 * In: a film. Out: it plays once; `data-film` on the dialog tells the style sheet that it is to be seen.
 */

export class Film {
  #address = "";

  /**
   * @param {HTMLDialogElement} dialog
   * @param {HTMLVideoElement} video
   */
  constructor(dialog, video) {
    this.dialog = dialog;
    this.video = video;
    video.addEventListener("ended", () => this.drop());
  }

  /**
   * @param {Blob} film
   * @param {boolean} muted
   */
  async play(film, muted) {
    this.drop();
    this.#address = URL.createObjectURL(film);
    this.video.src = this.#address;
    this.video.muted = muted;
    this.dialog.dataset.film = "on";
    await this.video.play().catch(() => (this.video.controls = true)); // where the browser wants a press first
  }

  /** Lets go of it. */
  drop() {
    delete this.dialog.dataset.film;
    if (!this.#address) return;
    this.video.controls = false;
    this.video.removeAttribute("src");
    this.video.load();
    URL.revokeObjectURL(this.#address);
    this.#address = "";
  }
}
