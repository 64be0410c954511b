/**
 * The portrait: the avatar's reference picture first, the live video over it as soon as it moves.
 *
 * In: the chosen avatar, the incoming stream, the voice level. Out: what is seen; the moment of the first
 * picture; pictures per second. The light behind the portrait takes its colours from the avatar's picture.
 */

const VOICE_STEPS = 4; // the rings light up in steps: a repaint for every reading would cost a quarter of a core
const VOICE_EVERY_MS = 160; // and no more often than this

/** Draws a soft, round-edged copy of the picture; the style sheet stretches it into a glow. */
function paintGlow(/** @type {HTMLCanvasElement} */ canvas, /** @type {HTMLImageElement} */ picture) {
  const context = canvas.getContext("2d");
  if (!context) return;
  const { width, height } = canvas;
  context.globalCompositeOperation = "source-over";
  context.clearRect(0, 0, width, height);
  context.filter = "blur(7px) saturate(1.5)";
  context.drawImage(picture, 4, 4, width - 8, height - 8);
  context.filter = "none";
  context.globalCompositeOperation = "destination-in";
  const edge = context.createRadialGradient(width / 2, height / 2, width * 0.18, width / 2, height / 2, width * 0.5);
  edge.addColorStop(0, "#000f");
  edge.addColorStop(0.55, "#0008");
  edge.addColorStop(1, "#0000");
  context.fillStyle = edge;
  context.fillRect(0, 0, width, height);
}

/**
 * @param {HTMLVideoElement} video
 * @returns {Promise<void>} when the next picture of its present stream is on the screen
 */
export function awaitPicture(video) {
  return new Promise((resolve) => {
    const seen = () => resolve(undefined);
    if ("requestVideoFrameCallback" in video) video.requestVideoFrameCallback(seen);
    video.addEventListener("loadeddata", seen, { once: true }); // hidden tabs have no frame callbacks
  });
}

export class Stage {
  #shown = 0;
  #timed = 0;
  #way_ms = 0;
  #counting = false;
  #voice = 0;
  #drawn = 0;
  #drawnAt_ms = 0;

  /**
   * @param {object} parts
   * @param {HTMLElement} parts.niche
   * @param {HTMLVideoElement} parts.video
   * @param {HTMLImageElement} parts.poster
   * @param {HTMLCanvasElement} parts.glow
   * @param {import("./mat.js").Mat} parts.mat
   * @param {HTMLButtonElement} parts.unblock shown when the browser will not play by itself
   * @param {() => void} parts.onBlocked called then
   */
  constructor({ niche, video, poster, glow, mat, unblock, onBlocked }) {
    this.onBlocked = onBlocked;
    this.niche = niche;
    this.video = video;
    this.poster = poster;
    this.unblock = unblock;
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    poster.addEventListener("load", () => {
      paintGlow(glow, poster);
      niche.dataset.poster = "ready";
      mat.paint();
    });
    unblock.addEventListener("click", () => void this.play());
  }

  /** @param {import("../rtc/signalling.js").Avatar} avatar */
  showAvatar(avatar) {
    this.poster.src = avatar.image;
    this.poster.alt = `${avatar.name}, the chosen avatar`;
  }

  /** @param {MediaStream | null} media */
  showMedia(media) {
    this.video.srcObject = media;
    this.#counting = media !== null && "requestVideoFrameCallback" in this.video;
    if (!media) {
      this.unblock.hidden = true;
      return;
    }
    if (this.#counting) this.#count(media);
    void this.play();
  }

  /** Plays, or shows the button when the browser wants a press first. */
  async play() {
    try {
      await this.video.play();
      this.unblock.hidden = true;
    } catch (error) {
      const refused = error instanceof DOMException && error.name === "NotAllowedError";
      if (!refused) return; // Another stream took its place.
      this.unblock.hidden = false;
      this.onBlocked();
    }
  }

  /** @returns {Promise<void>} when the next picture of the present stream is on the screen */
  awaitFirstFrame() {
    return awaitPicture(this.video);
  }

  /** @returns {import("../rtc/stats.js").Seen | null} what was seen since the last call; null where the browser cannot tell */
  takeSeen() {
    const [pictures, timed, way_ms] = [this.#shown, this.#timed, this.#way_ms];
    this.#shown = this.#timed = this.#way_ms = 0;
    return this.#counting ? { pictures, way_ms: timed ? way_ms / timed : null } : null;
  }

  /** @param {number} level of the voice, 0 to 1 */
  showVoice(level) {
    const target = this.still.matches ? 0 : level;
    this.#voice += (target - this.#voice) * (target > this.#voice ? 0.6 : 0.18);
    const step = Math.round(this.#voice * VOICE_STEPS);
    const now_ms = performance.now();
    if (step === this.#drawn || (step > 0 && now_ms - this.#drawnAt_ms < VOICE_EVERY_MS)) return;
    this.#drawn = step;
    this.#drawnAt_ms = now_ms;
    this.niche.style.setProperty("--voice", String(step / VOICE_STEPS));
  }

  /** Nobody is heard any more: the rings go out at once. */
  rest() {
    this.#voice = this.#drawn = 0;
    this.niche.style.setProperty("--voice", "0");
  }

  /** @param {MediaStream} media the stream whose pictures count */
  #count(media) {
    /** @type {VideoFrameRequestCallback} */
    const next = (_, { receiveTime, expectedDisplayTime }) => {
      if (this.video.srcObject !== media) return;
      this.#shown += 1;
      if (receiveTime !== undefined) {
        this.#timed += 1;
        this.#way_ms += expectedDisplayTime - receiveTime;
      }
      this.video.requestVideoFrameCallback(next);
    };
    this.video.requestVideoFrameCallback(next);
  }
}
