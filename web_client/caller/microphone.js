/**
 * The microphone: asking for it, listing the choices, letting go of it.
 *
 * In: a device id or "". Out: a MediaStream with one mono audio track; failures as `Problem`.
 */

import { Problem } from "../rtc/problems.js";

/** @type {Readonly<Record<string, import("../rtc/problems.js").ProblemCode>>} */
const CODE_OF = Object.freeze({
  NotFoundError: "no_microphone",
  NotAllowedError: "permission_refused",
  SecurityError: "permission_refused",
  NotReadableError: "microphone_busy",
  AbortError: "microphone_busy",
});

/** @returns {Problem | null} why this browser or address cannot make calls at all */
export function findObstacle() {
  if (!window.isSecureContext) return new Problem("insecure_context");
  if (!navigator.mediaDevices?.getUserMedia || !window.RTCPeerConnection) return new Problem("unsupported");
  return null;
}

/**
 * @param {string} deviceId "" for the system's default
 * @returns {Promise<MediaStream>}
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
    const name = error instanceof DOMException ? error.name : "";
    if (name === "OverconstrainedError" || (error instanceof Error && error.name === "OverconstrainedError")) {
      if (deviceId) return openMicrophone(""); // The remembered one is gone: the default will do.
    }
    throw new Problem(CODE_OF[name] ?? "no_microphone", { cause: error });
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
