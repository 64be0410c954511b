/**
 * The microphone's level: a strip of the last seconds, and one number for the rings round the portrait.
 *
 * In: the microphone's stream. Out: bars on a canvas, `aria-valuenow`, and per reading the level 0 to 1
 * (−60 dBFS to −6 dBFS). Reads 15 times a second; the sound itself goes nowhere from here.
 */

const READ_EVERY_MS = 66;
const FLOOR_DBFS = -60;
const CEILING_DBFS = -6;
const HOT_DBFS = -3;
const BAR_PX = 4;
const GAP_PX = 3;
const ANNOUNCE_EVERY = 10; // readings

/**
 * @param {Float32Array} samples in [-1, 1]
 * @returns {{rms_dbfs: number, peak_dbfs: number}}
 */
export function measureLevel(samples) {
  let sum = 0;
  let peak = 0;
  for (const sample of samples) {
    sum += sample * sample;
    peak = Math.max(peak, Math.abs(sample));
  }
  const rms = Math.sqrt(sum / samples.length);
  return { rms_dbfs: 20 * Math.log10(rms + 1e-9), peak_dbfs: 20 * Math.log10(peak + 1e-9) };
}

/** @param {number} dbfs */
function toUnit(dbfs) {
  return Math.min(1, Math.max(0, (dbfs - FLOOR_DBFS) / (CEILING_DBFS - FLOOR_DBFS)));
}

export class LevelMeter {
  /** @type {AudioContext | null} */
  #audio = null;
  /** @type {{unit: number, hot: boolean}[]} */
  #bars = [];
  #timer = 0;
  #readings = 0;

  /**
   * @param {HTMLElement} root the meter, with `role="meter"`
   * @param {HTMLCanvasElement} canvas inside it
   * @param {(level: number) => void} onLevel called at every reading with 0 to 1
   */
  constructor(root, canvas, onLevel) {
    this.root = root;
    this.canvas = canvas;
    this.onLevel = onLevel;
    new ResizeObserver(() => this.draw()).observe(root);
  }

  /** @param {MediaStream} stream */
  start(stream) {
    this.stop();
    const audio = new AudioContext();
    this.#audio = audio;
    void audio.resume(); // Some browsers open it asleep; the press on Start allows waking it.
    const analyser = new AnalyserNode(audio, { fftSize: 2048 });
    audio.createMediaStreamSource(stream).connect(analyser);
    const samples = new Float32Array(Math.min(analyser.fftSize, Math.round((audio.sampleRate * READ_EVERY_MS) / 1000)));
    this.#timer = setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      this.#take(measureLevel(samples));
    }, READ_EVERY_MS);
  }

  stop() {
    clearInterval(this.#timer);
    void this.#audio?.close();
    this.#audio = null;
    this.#bars = [];
    this.#readings = 0;
    this.onLevel(0);
    this.#announce(0, "off");
    this.draw();
  }

  /** @param {{rms_dbfs: number, peak_dbfs: number}} level */
  #take({ rms_dbfs, peak_dbfs }) {
    const unit = toUnit(rms_dbfs);
    this.#bars.push({ unit, hot: peak_dbfs > HOT_DBFS });
    this.#bars.splice(0, this.#bars.length - Math.ceil(this.canvas.width / BAR_PX));
    this.onLevel(unit);
    if (this.#readings++ % ANNOUNCE_EVERY === 0) {
      this.#announce(unit, unit < 0.08 ? "silent" : peak_dbfs > HOT_DBFS ? "too loud" : "good");
    }
    this.draw();
  }

  /**
   * @param {number} unit
   * @param {string} text
   */
  #announce(unit, text) {
    const value = String(Math.round(unit * 100));
    this.root.dataset.value = value;
    this.root.setAttribute("aria-valuenow", value);
    this.root.setAttribute("aria-valuetext", text);
  }

  /** Newest bar at the right; short stubs where nothing was heard yet. */
  draw() {
    const context = this.canvas.getContext("2d");
    if (!context) return;
    const scale = window.devicePixelRatio || 1;
    const { clientWidth, clientHeight } = this.root;
    const width = Math.round(clientWidth * scale);
    const height = Math.round(clientHeight * scale);
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    const style = getComputedStyle(this.root);
    const [rest, voice, hot] = [style.color, style.accentColor, style.outlineColor];
    context.clearRect(0, 0, width, height);
    const pitch = (BAR_PX + GAP_PX) * scale;
    const count = Math.floor((width + GAP_PX * scale) / pitch);
    const left = (width + GAP_PX * scale - count * pitch) / 2;
    for (let k = 0; k < count; k += 1) {
      const bar = this.#bars[this.#bars.length - count + k];
      const tall = Math.max(BAR_PX * scale, (bar?.unit ?? 0) * height);
      context.fillStyle = !bar || bar.unit < 0.08 ? rest : bar.hot ? hot : voice;
      context.beginPath();
      const bar_px = /** @type {const} */ ([left + k * pitch, (height - tall) / 2, BAR_PX * scale, tall]);
      if (typeof context.roundRect === "function") context.roundRect(...bar_px, (BAR_PX * scale) / 2);
      else context.rect(...bar_px);
      context.fill();
    }
  }
}
