/**
 * The few figures of `RTCPeerConnection.getStats()` that the page uses.
 *
 * In: a connection. Out: `LinkStats`; a figure that the browser does not give is null (counts: 0). What is seen on the
 * screen is more than the connection knows: whoever has that adds it.
 * Source: W3C "Identifiers for WebRTC's Statistics API", inbound-rtp and candidate-pair.
 */

/**
 * @typedef {object} Seen
 * @property {number} pictures shown
 * @property {number | null} way_ms their mean time from the last packet to the screen
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
 * @property {number | null} decode_ms mean time a picture takes to decode
 * @property {number | null} voiceBuffer_ms mean time the sound waits in its jitter buffer
 * @property {number | null} voiceWaited_s the same over all its samples so far, added up
 * @property {number} voicePlayed samples of it
 * @property {number | null} voicePatched share of the sound that was made up for what did not come, 0 to 1
 * @property {number} packetsLost of the picture
 * @property {number} voicePacketsLost
 * @property {number} freezes times the picture stood still so far
 * @property {number} frozen_s seconds of that
 * @property {number | null} voiceLate_ms the voice leaves its jitter buffer so much later than its picture comes
 * @property {number | null} way_ms mean time from a picture's last packet to the screen
 * @property {number | null} skew_ms picture behind sound, seen and heard here
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
 * @param {unknown} sum
 * @param {unknown} count
 * @param {number} scale
 * @returns {number | null}
 */
function mean(sum, count, scale) {
  const [all, parts] = [numberOrNull(sum), numberOrNull(count)];
  return all === null || !parts ? null : (scale * all) / parts;
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
    decode_ms: null,
    voiceBuffer_ms: null,
    voiceWaited_s: null,
    voicePlayed: 0,
    voicePatched: null,
    packetsLost: 0,
    voicePacketsLost: 0,
    freezes: 0,
    frozen_s: 0,
    voiceLate_ms: null,
    way_ms: null,
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
      stats.buffer_ms = mean(row.jitterBufferDelay, row.jitterBufferEmittedCount, 1000);
      stats.decode_ms = mean(row.totalDecodeTime, row.framesDecoded, 1000);
    }
    if (row.type === "inbound-rtp" && row.kind === "audio") {
      stats.voicePacketsLost = row.packetsLost ?? 0;
      stats.voiceBuffer_ms = mean(row.jitterBufferDelay, row.jitterBufferEmittedCount, 1000);
      stats.voiceWaited_s = numberOrNull(row.jitterBufferDelay);
      stats.voicePlayed = row.jitterBufferEmittedCount ?? 0;
      stats.voicePatched = mean(row.concealedSamples, row.totalSamplesReceived, 1);
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

/**
 * How much later the picture is seen than its voice is heard.
 * @param {Pick<LinkStats, "way_ms" | "voiceLate_ms" | "skew_ms">} link
 * @param {Record<string, unknown>} said the server's last "stats" message: how it sent them
 * @returns {number | null} in ms
 */
export function skewOf({ way_ms, voiceLate_ms, skew_ms }, said) {
  const sent_ms = numberOrNull(said.skew_ms);
  const here_ms = way_ms === null || voiceLate_ms === null ? skew_ms : way_ms - voiceLate_ms;
  return here_ms === null ? sent_ms : here_ms + (sent_ms ?? 0);
}
