/**
 * The call page: joins the parts to the elements of index.html. All logic lives in the parts.
 */

import { askUntilAnswered } from "../rtc/backoff.js";
import { asProblem, Problem } from "../rtc/problems.js";
import { fetchAvatars, fetchScaleRanges } from "../rtc/signalling.js";
import { AvatarPicker } from "../ui/avatars.js";
import { Diagnostics } from "../ui/diagnostics.js";
import { Hud } from "../ui/hud.js";
import { LevelMeter } from "../ui/level.js";
import { Mat } from "../ui/mat.js";
import { Scales } from "../ui/scales.js";
import { recall, remember } from "../ui/settings.js";
import { Stage } from "../ui/stage.js";
import { setUpTheme } from "../ui/theme.js";
import { WatchLink } from "../ui/watch-link.js";
import { Call } from "./call.js";
import { captionFor, captionForSlow } from "./captions.js";
import { findObstacle, listMicrophones } from "./microphone.js";

const SLOW_FPS = 12;
const SLOW_SECONDS = 4; // in a row, before the page speaks of it
const SILENT_READINGS = 90; // 6 s
const NOTE_MIC_OFF = "Your voice is sent only while a call is on.";
const NOTE_MIC_ON = "On. Your voice goes to this server and nowhere else.";
const NOTE_MIC_SILENT = "Nothing is heard. Muted, or the wrong one?";
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
const status = part("status", HTMLElement);
const headline = part("headline", HTMLElement);
const detail = part("detail", HTMLElement);
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
  onBlocked: () => sayProblem(new Problem("autoplay_blocked"), "warn"),
});
const hud = new Hud(part("hud", HTMLElement), part("hud-toggle", HTMLButtonElement));
const diagnostics = new Diagnostics(part("details", HTMLDialogElement), part("details-open", HTMLButtonElement));
const watchLink = new WatchLink(part("watch-link", HTMLButtonElement));
const call = new Call(stage);
const picker = new AvatarPicker(part("avatars", HTMLElement), part("avatar-about", HTMLElement), (avatar) => {
  stage.showAvatar(avatar);
  call.changeAvatar(avatar.id);
});

const scales = new Scales(part("scales", HTMLElement), part("scales-reset", HTMLButtonElement), (wish) =>
  call.changeScales(wish),
);

let silentReadings = 0;
let micOn = false;
const meter = new LevelMeter(part("level", HTMLElement), part("level-canvas", HTMLCanvasElement), (level) => {
  stage.showVoice(level);
  silentReadings = level < 0.08 ? silentReadings + 1 : 0;
  if (micOn) setText(micNote, silentReadings > SILENT_READINGS ? NOTE_MIC_SILENT : NOTE_MIC_ON);
});

/**
 * @param {HTMLElement} element
 * @param {string} text
 */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {import("./captions.js").Caption} caption */
function say(caption) {
  status.setAttribute("aria-live", caption.tone === "error" ? "assertive" : "polite");
  status.dataset.tone = caption.tone;
  setText(headline, caption.headline);
  setText(detail, caption.detail);
}

/**
 * @param {Problem} problem
 * @param {"warn" | "error"} tone
 */
function sayProblem(problem, tone) {
  say({ headline: problem.headline, detail: problem.sentence, tone });
}

function sayLive() {
  say(captionFor({ state: "live", problem: null, attempt: 0, wait_s: 0 }, picker.chosen?.name ?? "the avatar"));
}

let slowSeconds = 0;

/** @param {number | null} fps of the last second */
function watchSpeed(fps) {
  const wasSlow = slowSeconds >= SLOW_SECONDS;
  slowSeconds = fps !== null && fps < SLOW_FPS ? slowSeconds + 1 : 0;
  if (slowSeconds === SLOW_SECONDS) say(captionForSlow());
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
  say(captionFor(change, picker.chosen?.name ?? "the avatar"));
}

async function showMicrophones() {
  const found = await listMicrophones();
  const wanted = mic.value || recall("microphone") || "";
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
addEventListener("pagehide", () => call.stop());
mic.addEventListener("change", () => {
  remember("microphone", mic.value);
  void call.changeMicrophone(mic.value);
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
  if (document.body.dataset.state === "live" && !document.hidden) watchSpeed(fps);
});
call.addEventListener("scales", (event) => scales.adopt(/** @type {CustomEvent} */ (event).detail));
call.addEventListener("avatar", () => {
  if (document.body.dataset.state === "live") sayLive();
});
call.addEventListener("watchable", (event) => watchLink.show(/** @type {CustomEvent} */ (event).detail));
call.addEventListener("speaking", (event) => {
  document.body.dataset.speaking = String(/** @type {CustomEvent} */ (event).detail);
});
call.addEventListener("microphone", (event) => {
  const stream = /** @type {CustomEvent<MediaStream | null>} */ (event).detail;
  micOn = stream !== null;
  silentReadings = 0;
  if (stream) {
    meter.start(stream);
    void showMicrophones();
  } else {
    meter.stop();
    setText(micNote, NOTE_MIC_OFF);
  }
});
navigator.mediaDevices?.addEventListener?.("devicechange", () => void showMicrophones());

setUpTheme(part("theme-toggle", HTMLButtonElement), part("theme-label", HTMLElement), () => {
  meter.draw();
  mat.paint();
});
mute.checked = true;
showSound();
void showMicrophones();

const idle = () => {
  const obstacle = findObstacle();
  if (obstacle) sayProblem(obstacle, "error");
  else showState({ state: "idle", problem: null, attempt: 0, wait_s: 0 });
};

void askUntilAnswered(fetchAvatars, (error) => {
  const { headline: what, sentence } = asProblem(error);
  if (!call.busy) say({ headline: what, detail: `${sentence} Trying again by itself.`, tone: "warn" });
}).then((avatars) => {
  picker.show(avatars);
  if (!call.busy) idle();
});
void askUntilAnswered(fetchScaleRanges, () => {}).then((ranges) => scales.show(ranges));
