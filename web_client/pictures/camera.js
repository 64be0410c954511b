/**
 * A still from the camera: open, seen as in a mirror, taken as it is, closed.
 *
 * In: a video element to show it in. Out: a JPEG. The camera is on only while it is shown.
 */

import { Refusal } from "./server.js";

/** @type {Readonly<Record<string, string>>} */
const SENTENCES = Object.freeze({
  NotFoundError: "No camera was found. Plug one in, or choose a file.",
  NotAllowedError: "The camera is not allowed. Allow it beside the page's address, or choose a file.",
  NotReadableError: "The camera is taken by another program. Close that, or choose a file.",
});

export class Camera {
  /** @type {MediaStream | null} */
  #stream = null;

  /** @param {HTMLVideoElement} video */
  constructor(video) {
    this.video = video;
  }

  /** @returns {boolean} whether this browser has any way to one */
  static get thinkable() {
    return Boolean(navigator.mediaDevices?.getUserMedia);
  }

  /** @throws {Refusal} it does not open */
  async open() {
    const video = { width: { ideal: 1280 }, height: { ideal: 960 }, facingMode: "user" };
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({ video, audio: false });
    } catch (error) {
      const name = error instanceof Error || error instanceof DOMException ? error.name : "";
      throw new Refusal(SENTENCES[name] ?? "The camera does not open. Choose a file instead.", { code: "no_camera" });
    }
    this.video.srcObject = this.#stream;
    await this.video.play().catch(() => {});
  }

  /** @returns {Promise<Blob>} what it sees now */
  async take() {
    const canvas = document.createElement("canvas");
    canvas.width = this.video.videoWidth;
    canvas.height = this.video.videoHeight;
    canvas.getContext("2d")?.drawImage(this.video, 0, 0);
    const still = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
    if (!(still instanceof Blob)) throw new Refusal("The camera shows nothing yet. Try again.", { code: "no_camera" });
    return still;
  }

  /** Switches it off. */
  close() {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = null;
    this.video.srcObject = null;
  }
}
