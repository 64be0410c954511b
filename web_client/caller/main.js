/**
 * The call page: joins the parts to the elements of index.html. All logic lives in the parts.
 */

import { askUntilAnswered } from "../rtc/backoff.js";
import { asProblem, Problem } from "../rtc/problems.js";
import { fetchAvatars, fetchConfig, fetchScaleRanges, rememberIceServers } from "../rtc/signalling.js";
import { AvatarPicker } from "../ui/avatars.js";
import { Diagnostics } from "../ui/diagnostics.js";
import { Hud } from "../ui/hud.js";
import { LevelMeter } from "../ui/level.js";
import { Mat } from "../ui/mat.js";
import { Scales } from "../ui/scales.js";
import { recall, remember } from "../ui/settings.js";
import { Stage } from "../ui/stage.js";
import { setText, StatusLine } from "../ui/status-line.js";
import { setUpTheme } from "../ui/theme.js";
import { WatchLink } from "../ui/watch-link.js";
import { Call } from "./call.js";
import { captionFor, captionForReturn, captionForSlow } from "./captions.js";
import { findObstacle, listMicrophones } from "./microphone.js";
import { setUpPictures } from "./pictures.js";
import { recallSecret } from "./secret.js";

const SLOW_FPS = 12;
const SLOW_SECONDS = 4; // in a row, before the page speaks of it
const SILENT_READINGS = 90; // 6 s
const NOTE_MIC_OFF = "Your voice is sent only while a call is on.";
const NOTE_MIC_ON = "On. Your voice goes to this server and nowhere else.";
const NOTE_MIC_NONE = "None. The face goes on in silence.";
const NOTE_MIC_SILENT = "Nothing is heard. Muted, or the wrong one?";
const CONFIG_WITHIN_MS = 1000;
const TOLD_FOR_MS = 10_000;
const NOTE_MUTED = "What comes back is your own voice a moment later, so every visit starts with it muted.";
const NOTE_HEARD = "Wear headphones: from loudspeakers your voice would go round as an echo.";

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} kind
 * @returns {T}
 */
function part(id, kind) {
  const element = document.getElementById(id);
  if (!(element instanceof kind)) throw new TypeError(`expected a ${kind.name} with id ${id}, got ${element}`);
  return element;
}

const start = part("start", HTMLButtonElement);
const stop = part("stop", HTMLButtonElement);
const mic = part("mic", HTMLSelectElement);
const micNote = part("mic-note", HTMLElement);
const mute = part("mute", HTMLInputElement);
const soundNote = part("sound-note", HTMLElement);
const video = part("avatar-video", HTMLVideoElement);

const niche = /** @type {HTMLElement} */ (document.querySelector(".niche"));
const mat = new Mat(part("mat", HTMLCanvasElement), part("glow", HTMLCanvasElement), niche);
const stage = new Stage({
  niche,
  video,
  poster: part("poster", HTMLImageElement),
  glow: part("glow", HTMLCanvasElement),
  mat,
  unblock: part("unblock", HTMLButtonElement),
  onBlocked: () => line.sayProblem(new Problem("autoplay_blocked"), "warn"),
});
const hud = new Hud(part("hud", HTMLElement), part("hud-toggle", HTMLButtonElement));
const diagnostics = new Diagnostics(part("details", HTMLDialogElement), part("details-open", HTMLButtonElement));
const watchLink = new WatchLink(part("watch-link", HTMLButtonElement));
const findServers = rememberIceServers();
void findServers(); // at once: a call need not wait for it
const call = new Call({
  awaitFirstFrame: () => stage.awaitFirstFrame(),
  takeSeen: () => stage.takeSeen(),
  findServers,
});
const picker = new AvatarPicker(
  part("avatars", HTMLElement),
  part("avatar-about", HTMLElement),
  part("avatar-remove", HTMLButtonElement),
  (avatar) => {
    stage.showAvatar(avatar);
    call.changeAvatar(avatar.id);
  },
);

const scales = new Scales(part("scales", HTMLElement), part("scales-reset", HTMLButtonElement), (wish) =>
  call.changeScales(wish),
);

let silentReadings = 0;
let heard = false; // since the microphone was opened
let micOn = false;
const meter = new LevelMeter(part("level", HTMLElement), part("level-canvas", HTMLCanvasElement), (level) => {
  stage.showVoice(level);
  silentReadings = level < 0.08 ? silentReadings + 1 : 0;
  if (!micOn) return;
  const silent = silentReadings > SILENT_READINGS;
  setText(micNote, silent ? NOTE_MIC_SILENT : NOTE_MIC_ON);
  // Who is silent for a while may be listening; who was never heard has a microphone that does not work.
  if (silent && !heard && isLive()) line.tell(new Problem("microphone_silent"));
  if (silentReadings === 0 && !heard) {
    heard = true;
    line.calm("microphone_silent");
  }
});

const line = new StatusLine({
  root: part("status", HTMLElement),
  headline: part("headline", HTMLElement),
  detail: part("detail", HTMLElement),
  onCalm: () => isLive() && sayLive(),
});

function sayLive() {
  line.say(captionFor({ state: "live", problem: null, attempt: 0, wait_s: 0 }, picker.chosen?.name ?? "the avatar"));
}

function isLive() {
  return document.body.dataset.state === "live";
}

let slowSeconds = 0;

/** @param {number | null} fps of the last second */
function watchSpeed(fps) {
  const wasSlow = slowSeconds >= SLOW_SECONDS;
  slowSeconds = fps !== null && fps < SLOW_FPS ? slowSeconds + 1 : 0;
  if (line.busy) return;
  if (slowSeconds === SLOW_SECONDS) line.say(captionForSlow());
  else if (wasSlow && slowSeconds === 0) sayLive();
}

/** @param {import("./call.js").StateChange} change */
function showState(change) {
  const focused = document.activeElement === start || document.activeElement === stop;
  document.body.dataset.state = change.state;
  start.hidden = call.busy;
  stop.hidden = !call.busy;
  if (focused) (call.busy ? stop : start).focus({ preventScroll: true });
  hud.clear(call.busy ? "joining" : "off");
  stage.takeSeen();
  slowSeconds = 0;
  line.say(captionFor(change, picker.chosen?.name ?? "the avatar"));
  if (isLive() && !micOn) line.tell(new Problem("microphone_lost"));
}

/** @param {string} wanted device id, "" for the default one */
async function showMicrophones(wanted = mic.value || recall("microphone") || "") {
  const found = await listMicrophones();
  const options = found.filter(({ id }) => id !== "default").map(({ id, name }) => new Option(name, id));
  mic.replaceChildren(new Option("Default microphone", ""), ...options);
  mic.value = options.some((option) => option.value === wanted) ? wanted : "";
}

function showSound() {
  video.muted = mute.checked;
  setText(soundNote, mute.checked ? NOTE_MUTED : NOTE_HEARD);
  soundNote.dataset.tone = mute.checked ? "calm" : "warn";
}

start.addEventListener("click", () => void call.start(picker.chosen?.id ?? null, scales.wish, mic.value));
stop.addEventListener("click", () => call.stop());
addEventListener("pagehide", () => call.leave());
mic.addEventListener("change", async () => {
  const wanted = mic.value;
  if (!call.busy || (await call.changeMicrophone(wanted))) remember("microphone", wanted);
  else await showMicrophones(call.microphoneId);
});
mute.addEventListener("change", () => {
  showSound();
  if (call.busy) void stage.play(); // Some browsers pause a video whose sound comes on.
});
call.addEventListener("state", (event) => showState(/** @type {CustomEvent} */ (event).detail));
call.addEventListener("media", (event) => stage.showMedia(/** @type {CustomEvent} */ (event).detail));
call.addEventListener("figures", (event) => {
  const figures = /** @type {CustomEvent} */ (event).detail;
  diagnostics.update(figures);
  const fps = hud.update(figures);
  if (isLive() && !document.hidden) watchSpeed(fps);
});
call.addEventListener("scales", (event) => scales.adopt(/** @type {CustomEvent} */ (event).detail));
call.addEventListener("avatar", () => {
  if (isLive() && !line.busy) sayLive();
});
call.addEventListener("trouble", (event) => {
  const problem = /** @type {CustomEvent<Problem>} */ (event).detail;
  if (isLive()) line.tell(problem, problem.code === "microphone_lost" ? undefined : TOLD_FOR_MS);
});
call.addEventListener("watchable", (event) => watchLink.show(/** @type {CustomEvent} */ (event).detail));
call.addEventListener("speaking", (event) => {
  document.body.dataset.speaking = String(/** @type {CustomEvent} */ (event).detail);
});
call.addEventListener("microphone", (event) => {
  const stream = /** @type {CustomEvent<MediaStream | null>} */ (event).detail;
  micOn = stream !== null;
  silentReadings = 0;
  heard = false;
  if (stream) {
    meter.start(stream);
    line.calm("microphone_lost", "microphone_silent");
    void showMicrophones();
  } else {
    meter.stop();
    stage.rest();
    setText(micNote, isLive() ? NOTE_MIC_NONE : NOTE_MIC_OFF);
  }
});
navigator.mediaDevices?.addEventListener?.("devicechange", () => {
  void showMicrophones();
  void call.microphonesChanged();
});

setUpTheme(part("theme-toggle", HTMLButtonElement), part("theme-label", HTMLElement), () => {
  meter.draw();
  mat.paint();
});
mute.checked = true;
showSound();
void showMicrophones();

function sayIdle() {
  const obstacle = findObstacle();
  if (obstacle) return line.sayProblem(obstacle, "error");
  showState({ state: "idle", problem: null, attempt: 0, wait_s: 0 });
  if (recallSecret()) line.say(captionForReturn());
}

const config = askUntilAnswered(fetchConfig, () => {}).then(({ uploads }) => {
  if (uploads) setUpPictures(uploads, picker, part("studio", HTMLDialogElement), part("farewell", HTMLDialogElement), () => call.busy);
});
void askUntilAnswered(fetchAvatars, (error) => {
  const { headline, sentence } = asProblem(error);
  if (!call.busy) line.say({ headline, detail: `${sentence} Trying again by itself.`, tone: "warn" });
}).then(async (avatars) => {
  await Promise.race([config, new Promise((done) => setTimeout(done, CONFIG_WITHIN_MS))]); // a tile that comes later pushes all others aside
  picker.show(avatars);
  if (!call.busy) sayIdle();
});
void askUntilAnswered(fetchScaleRanges, () => {}).then((ranges) => scales.show(ranges));
document.documentElement.dataset.ready = "";
