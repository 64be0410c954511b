/**
 * From three points of a picture to the canvas that is cut out of it, as the server does it (models/framing/similarity.py).
 *
 * In: the left eye, the right eye and the mouth, in pixels of the picture; where they belong on the canvas. Out: a
 * similarity, and the canvas drawn with it. The eyes lie on their line; scale and turn follow eyes and mouth together.
 */

/** @typedef {[number, number]} Point x and y */
/** @typedef {{points: Point[], weights: number[]}} Lines where the points belong, as shares of the canvas's side */
/** @typedef {{turn: Point, shift: Point}} Similarity canvas = turn · picture + shift, as complex numbers */

/**
 * @param {Point} a
 * @param {Point} b
 * @returns {Point} their product as complex numbers
 */
function times([a, b], [c, d]) {
  return [a * c - b * d, a * d + b * c];
}

/**
 * @param {Point[]} points
 * @param {number[]} weights
 * @returns {Point} their weighted middle
 */
function middleOf(points, weights) {
  const sum = (/** @type {0 | 1} */ axis) => points.reduce((all, point, k) => all + weights[k] * point[axis], 0);
  return [sum(0), sum(1)];
}

/**
 * @param {Point[]} points
 * @param {Lines} lines
 * @returns {Similarity | null} to a canvas of side 1; null where the points are one
 */
export function layOnLines(points, lines) {
  const { weights } = lines;
  const [from, to] = [middleOf(points, weights), middleOf(lines.points, weights)];
  /** @type {Point} */
  let turn = [0, 0];
  let size = 0;
  points.forEach(([x, y], k) => {
    /** @type {Point} */
    const mirrored = [x - from[0], -(y - from[1])];
    const [re, im] = times(mirrored, [lines.points[k][0] - to[0], lines.points[k][1] - to[1]]);
    turn = [turn[0] + weights[k] * re, turn[1] + weights[k] * im];
    size += weights[k] * ((x - from[0]) ** 2 + (y - from[1]) ** 2);
  });
  if (size < 1e-6 || Math.hypot(...turn) < 1e-9) return null;
  turn = [turn[0] / size, turn[1] / size];
  const moved = times(turn, from);
  const between = times(turn, middleOf(points.slice(0, 2), [0.5, 0.5]));
  const line = (lines.points[0][1] + lines.points[1][1]) / 2;
  return { turn, shift: [to[0] - moved[0], line - between[1]] };
}

/**
 * @param {Similarity} similarity
 * @returns {{middle: Point, side: number}} the canvas's middle and side, in pixels of the picture
 */
export function placeOf({ turn, shift }) {
  const size = turn[0] ** 2 + turn[1] ** 2;
  const [x, y] = times([0.5 - shift[0], 0.5 - shift[1]], [turn[0] / size, -turn[1] / size]);
  return { middle: [x, y], side: 1 / Math.sqrt(size) };
}

/** The canvas that would be cut out, as it is seen. */
export class FramedView {
  #address = "";

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
  }

  /**
   * As the server has cut it.
   * @param {string} address of the picture
   */
  show(address) {
    this.#address = address;
    const image = new Image();
    image.addEventListener("load", () => {
      if (this.#address === address) this.#paint(image, [1, 0, 0, 1, 0, 0], this.canvas.width);
    });
    image.src = address;
  }

  /**
   * At once, from the reduced picture.
   * @param {HTMLImageElement} image upright
   * @param {number} width of the picture itself
   * @param {Point[]} points in its pixels
   * @param {Lines} lines
   */
  draw(image, width, points, lines) {
    const similarity = layOnLines(points, lines);
    if (!similarity || !image.naturalWidth) return;
    this.#address = "";
    const { turn, shift } = similarity;
    const side = this.canvas.width;
    const [a, b] = turn.map((part) => part * (width / image.naturalWidth) * side);
    this.#paint(image, [a, b, -b, a, shift[0] * side, shift[1] * side]);
  }

  /**
   * @param {HTMLImageElement} image
   * @param {[number, number, number, number, number, number]} matrix
   * @param {number} [side] at which the image is drawn; its own where none is said
   */
  #paint(image, matrix, side) {
    const context = this.canvas.getContext("2d");
    if (!context) return;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.imageSmoothingQuality = "high";
    context.setTransform(...matrix);
    if (side === undefined) context.drawImage(image, 0, 0);
    else context.drawImage(image, 0, 0, side, side);
    context.setTransform(1, 0, 0, 1, 0, 0);
  }
}
