/**
 * The microphone: asking for it, listing the choices, letting go of it.
 *
 * In: a device id or "". Out: a MediaStream with one mono audio track; failures as `Problem`.
 */

import { Problem } from "../rtc/problems.js";

/** @type {Readonly<Record<string, import("../rtc/problems.js").ProblemCode>>} */
const CODE_OF = Object.freeze({
  NotFoundError: "no_microphone",
  OverconstrainedError: "no_microphone",
  NotAllowedError: "permission_refused",
  SecurityError: "permission_refused",
  NotReadableError: "microphone_busy",
  AbortError: "microphone_busy",
});

/** @returns {Problem | null} why this browser or address cannot make calls at all */
export function findObstacle() {
  const { lacks, oldest } = document.documentElement.dataset; // ui/first-look.js
  if (lacks) return new Problem("too_old", { sentence: `It lacks ${lacks}. Use ${oldest}.` });
  if (!window.isSecureContext) return new Problem("insecure_context");
  if (!navigator.mediaDevices?.getUserMedia || !window.RTCPeerConnection) return new Problem("unsupported");
  return null;
}

/**
 * @param {string} deviceId "" for the system's default
 * @returns {Promise<MediaStream>}
 * @throws {Problem} it does not open, or is gone ("no_microphone")
 */
export async function openMicrophone(deviceId) {
  const obstacle = findObstacle();
  if (obstacle) throw obstacle;
  const audio = {
    echoCancellation: true,
    autoGainControl: true,
    noiseSuppression: true,
    channelCount: 1,
    ...(deviceId ? { deviceId: { exact: deviceId } } : {}),
  };
  try {
    return await navigator.mediaDevices.getUserMedia({ audio, video: false });
  } catch (error) {
    const code = CODE_OF[error instanceof Error || error instanceof DOMException ? error.name : ""];
    throw code ? new Problem(code, { cause: error }) : error;
  }
}

/**
 * The chosen microphone, or the default one where the chosen one is gone.
 * @param {string} deviceId "" for the system's default
 * @returns {Promise<MediaStream>}
 */
export async function openMicrophoneOrDefault(deviceId) {
  try {
    return await openMicrophone(deviceId);
  } catch (error) {
    if (!deviceId || !(error instanceof Problem) || error.code !== "no_microphone") throw error;
    return openMicrophone("");
  }
}

/** @param {MediaStream | null} stream */
export function closeMicrophone(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

/**
 * Names are empty until the page has been allowed to use a microphone once.
 * @returns {Promise<{id: string, name: string}[]>}
 */
export async function listMicrophones() {
  if (!navigator.mediaDevices?.enumerateDevices) return [];
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices
    .filter((device) => device.kind === "audioinput" && device.label && device.deviceId)
    .map((device) => ({ id: device.deviceId, name: device.label }));
}
