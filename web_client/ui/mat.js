/**
 * The mat round the portrait: a sheet of the page's paper with an arch cut out, as in a picture frame.
 *
 * In: the box of the picture, the glow behind it, the arch's radii. Out: the painted sheet, which the style sheet
 * lays over the picture. Cutting the video itself to an arch makes a browser without a graphics card mask every
 * frame: a tenth of a core at 25 frames a second. The sheet is painted once, and where it cannot be (an old canvas,
 * forced colours) the style sheet cuts the picture as before.
 */

/**
 * The two radii of each corner in pixels, from a value of `border-radius` in per cent (`a b c d / e f g h`).
 * @param {string} arch
 * @param {number} width
 * @param {number} height
 * @returns {{x: number, y: number}[] | null} null where it is no such value
 */
export function cornersOf(arch, width, height) {
  const shares = (arch.match(/[\d.]+(?=%)/g) ?? []).map(Number);
  if (shares.length !== 8) return null;
  return [0, 1, 2, 3].map((k) => ({ x: (shares[k] * width) / 100, y: (shares[k + 4] * height) / 100 }));
}

export class Mat {
  /**
   * @param {HTMLCanvasElement} canvas lies over the picture
   * @param {HTMLCanvasElement} glow lies behind it and shows in the corners
   * @param {HTMLElement} niche holds both; `data-mat` on it tells the style sheet that the mat is there
   */
  constructor(canvas, glow, niche) {
    this.canvas = canvas;
    this.glow = glow;
    this.niche = niche;
    new ResizeObserver(() => this.paint()).observe(canvas);
    matchMedia("(forced-colors: active)").addEventListener("change", () => this.paint());
  }

  /** Again, after anything that shows in the corners has changed. */
  paint() {
    const context = this.canvas.getContext("2d");
    const { clientWidth, clientHeight } = this.canvas;
    const scale = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(clientWidth * scale), Math.round(clientHeight * scale)];
    const style = getComputedStyle(this.canvas);
    const corners = cornersOf(style.getPropertyValue("--arch"), width, height);
    const able = context && "roundRect" in context && !matchMedia("(forced-colors: active)").matches;
    if (!able || !corners || width === 0) {
      this.niche.dataset.mat = "off";
      return;
    }
    this.canvas.width = width;
    this.canvas.height = height;
    context.fillStyle = getComputedStyle(document.body).backgroundColor;
    context.fillRect(0, 0, width, height);
    const box = this.canvas.getBoundingClientRect();
    const light = this.glow.getBoundingClientRect();
    context.globalAlpha = Number(getComputedStyle(this.glow).opacity);
    context.drawImage(
      this.glow, scale * (light.left - box.left), scale * (light.top - box.top), scale * light.width, scale * light.height,
    );
    context.globalAlpha = 1;
    context.globalCompositeOperation = "destination-out";
    context.beginPath();
    context.roundRect(0, 0, width, height, corners);
    context.fill();
    this.niche.dataset.mat = "on";
  }
}
