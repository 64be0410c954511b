/**
 * The few figures of `RTCPeerConnection.getStats()` that the page uses.
 *
 * In: a connection. Out: `LinkStats`; a figure that the browser does not give is null (counts: 0).
 * Source: W3C "Identifiers for WebRTC's Statistics API", inbound-rtp and candidate-pair.
 */

/**
 * @typedef {object} LinkStats
 * @property {number} framesDecoded pictures decoded so far
 * @property {number} framesDropped pictures decoded but not shown so far
 * @property {number | null} fps
 * @property {number | null} width in pixels
 * @property {number | null} height in pixels
 * @property {number | null} rtt_ms of the network path
 * @property {number | null} buffer_ms mean time a picture waits in the jitter buffer
 * @property {number} packetsLost of the picture
 * @property {number} voicePacketsLost
 * @property {number} freezes times the picture stood still so far
 * @property {number} frozen_s seconds of that
 * @property {number | null} skew_ms picture behind sound as this browser plays them
 * @property {RTCPeerConnectionState} state
 */

/**
 * @param {unknown} value
 * @returns {number | null}
 */
function numberOrNull(value) {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

/**
 * @param {RTCPeerConnection} pc
 * @returns {Promise<LinkStats>}
 */
export async function readStats(pc) {
  /** @type {LinkStats} */
  const stats = {
    framesDecoded: 0,
    framesDropped: 0,
    fps: null,
    width: null,
    height: null,
    rtt_ms: null,
    buffer_ms: null,
    packetsLost: 0,
    voicePacketsLost: 0,
    freezes: 0,
    frozen_s: 0,
    skew_ms: null,
    state: pc.connectionState,
  };
  /** @type {{audio: number | null, video: number | null}} moments of the sender's clock that are played now */
  const played = { audio: null, video: null };
  const report = await pc.getStats();
  report.forEach((row) => {
    if (row.type === "inbound-rtp" && row.kind === "video") {
      stats.framesDecoded = row.framesDecoded ?? 0;
      stats.framesDropped = row.framesDropped ?? 0;
      stats.fps = numberOrNull(row.framesPerSecond);
      stats.width = numberOrNull(row.frameWidth);
      stats.height = numberOrNull(row.frameHeight);
      stats.packetsLost = row.packetsLost ?? 0;
      stats.freezes = row.freezeCount ?? 0;
      stats.frozen_s = row.totalFreezesDuration ?? 0;
      played.video = numberOrNull(row.estimatedPlayoutTimestamp);
      const emitted = row.jitterBufferEmittedCount ?? 0;
      if (emitted > 0) stats.buffer_ms = (1000 * row.jitterBufferDelay) / emitted;
    }
    if (row.type === "inbound-rtp" && row.kind === "audio") {
      stats.voicePacketsLost = row.packetsLost ?? 0;
      played.audio = numberOrNull(row.estimatedPlayoutTimestamp);
    }
    if (row.type === "candidate-pair" && row.nominated && row.state === "succeeded") {
      const rtt_s = numberOrNull(row.currentRoundTripTime);
      stats.rtt_ms = rtt_s === null ? null : rtt_s * 1000;
    }
  });
  if (played.audio !== null && played.video !== null) stats.skew_ms = played.audio - played.video;
  return stats;
}
