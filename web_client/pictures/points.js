/**
 * The three points that are set in a picture: by pointer, finger or arrow keys.
 *
 * In: the picture and its points. Out: `onMove` with the points while they move, in pixels of the picture. The view is a
 * square of the picture, drawn near to the face where one was found; points never leave what is seen.
 */

import { layOnLines, placeOf } from "./framing.js";

/** @typedef {import("./framing.js").Point} Point */
/** @typedef {{left: number, top: number, side: number}} View a square, in pixels of the picture */

const NAMES = ["Left eye", "Right eye", "Mouth"];
const ROOM = 1.25; // of the view round the canvas that would be cut out
const STEP = 1 / 200; // of the view, for an arrow key
const LEAP = 10; // times as far with Shift
/** @type {Readonly<Record<string, Point>>} */
const ARROWS = Object.freeze({ ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] });
/** @type {readonly Point[]} where points begin that nobody has found, as shares of the shorter side */
const GUESS = Object.freeze([[-0.12, -0.08], [0.12, -0.08], [0, 0.14]]);

export class PointEditor {
  /** @type {Point[]} */
  #points = [];
  #size = { width: 1, height: 1 };
  /** @type {View} */
  #view = { left: 0, top: 0, side: 1 };
  #whole = false;

  /**
   * @param {HTMLElement} box holds an image; gets the three marks
   * @param {HTMLButtonElement} nearer shows the whole picture, or the face alone
   * @param {(points: Point[], done: boolean) => void} onMove `done` where the hand has let go
   */
  constructor(box, nearer, onMove) {
    this.box = box;
    this.nearer = nearer;
    this.onMove = onMove;
    this.image = /** @type {HTMLImageElement} */ (box.querySelector("img"));
    /** @type {import("./framing.js").Lines | null} */
    this.lines = null;
    this.marks = NAMES.map((name, k) => this.#makeMark(name, k));
    box.append(...this.marks);
    nearer.addEventListener("click", () => this.#look(!this.#whole));
  }

  /** @returns {Point[]} in pixels of the picture */
  get points() {
    return this.#points.map(([x, y]) => [x, y]);
  }

  /**
   * @param {{image: string, width: number, height: number}} picture
   * @param {Point[] | null} points null where none were found
   * @param {import("./framing.js").Lines | null} lines
   */
  show(picture, points, lines) {
    const { width, height } = picture;
    const shorter = Math.min(width, height);
    this.#size = { width, height };
    this.lines = lines;
    this.#points = points ?? GUESS.map(([x, y]) => [width / 2 + x * shorter, height / 2 + y * shorter]);
    this.image.src = picture.image;
    this.#look(points === null);
  }

  /** @param {boolean} whole the whole picture, else the face */
  #look(whole) {
    const { width, height } = this.#size;
    const placed = whole || !this.lines ? null : layOnLines(this.#points, this.lines);
    const side = Math.max(width, height);
    this.#view = { left: (width - side) / 2, top: (height - side) / 2, side };
    if (placed) {
      const { middle, side: canvas } = placeOf(placed);
      const near = Math.min(ROOM * canvas, side);
      this.#view = { left: middle[0] - near / 2, top: middle[1] - near / 2, side: near };
    }
    this.#whole = !placed;
    this.nearer.textContent = placed ? "Whole picture" : "Closer";
    const { left, top, side: seen } = this.#view;
    Object.assign(this.image.style, {
      width: `${(100 * width) / seen}%`,
      left: `${(-100 * left) / seen}%`,
      top: `${(-100 * top) / seen}%`,
    });
    this.#place();
  }

  #place() {
    const { left, top, side } = this.#view;
    this.marks.forEach((mark, k) => {
      const [x, y] = this.#points[k];
      mark.style.left = `${(100 * (x - left)) / side}%`;
      mark.style.top = `${(100 * (y - top)) / side}%`;
      mark.setAttribute("aria-label", `${NAMES[k]}: ${Math.round(x)} across, ${Math.round(y)} down`);
    });
  }

  /**
   * @param {number} k
   * @param {Point} to
   * @param {boolean} done
   */
  #move(k, [x, y], done) {
    const { left, top, side } = this.#view;
    const { width, height } = this.#size;
    const within = (/** @type {number} */ value, /** @type {number} */ first, /** @type {number} */ last) =>
      Math.min(Math.max(value, Math.max(first, 0)), last);
    this.#points[k] = [
      within(x, left, Math.min(left + side, width)), within(y, top, Math.min(top + side, height)),
    ];
    this.#place();
    this.onMove(this.points, done);
  }

  /**
   * @param {string} name
   * @param {number} k
   */
  #makeMark(name, k) {
    const mark = document.createElement("button");
    mark.type = "button";
    mark.className = "mark";
    mark.dataset.testid = `mark-${k}`;
    mark.title = name;
    mark.setAttribute("aria-label", name);
    mark.setAttribute("aria-describedby", "studio-keys");
    mark.addEventListener("pointerdown", (event) => {
      mark.setPointerCapture(event.pointerId);
      mark.focus({ preventScroll: true });
      event.preventDefault();
    });
    const drag = (/** @type {PointerEvent} */ event, /** @type {boolean} */ done) => {
      if (!mark.hasPointerCapture(event.pointerId)) return;
      const box = this.box.getBoundingClientRect();
      const { left, top, side } = this.#view;
      const at = (/** @type {number} */ px, /** @type {number} */ edge) => ((px - edge) / box.width) * side;
      this.#move(k, [left + at(event.clientX, box.left), top + at(event.clientY, box.top)], done);
    };
    mark.addEventListener("pointermove", (event) => drag(event, false));
    mark.addEventListener("pointerup", (event) => drag(event, true));
    mark.addEventListener("keydown", (event) => {
      const way = ARROWS[event.key];
      if (!way) return;
      event.preventDefault();
      const far = STEP * this.#view.side * (event.shiftKey ? LEAP : 1);
      const [x, y] = this.#points[k];
      this.#move(k, [x + way[0] * far, y + way[1] * far], true);
    });
    return mark;
  }
}
