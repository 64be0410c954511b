/**
 * Picture and voice together: the voice waits 60 ms or a little more, and the server sends it ahead by about what
 * that is more than a picture's way to the screen; where the network makes it wait longer, the picture waits for it.
 *
 * In: the two receivers, and the figures of each second. Out: their `jitterBufferTarget`. A browser that aligns two
 * tracks of one stream by itself swings by 60 ms about the right delay and takes half a minute to find it, so the
 * server sends two streams and this does it: at once for the voice, and for the picture only beyond `SLACK_MS`.
 * Browsers without `jitterBufferTarget` play both as they come, which is right on a calm network.
 */

const VOICE_WAIT_MS = 60;
const SLACK_MS = 20;
const FOLLOW = 0.5; // of the way a second
const STEP_MS = 5; // smaller changes are not worth a shift of the picture

export class Aligner {
  /** How much earlier than its picture the voice is sent, as the server says in its greeting. */
  ahead_ms = 0;
  /** @type {RTCRtpReceiver | null} */
  #picture = null;
  #waited_s = 0;
  #played = 0;
  #hold_ms = 0;
  #set_ms = 0;

  /**
   * @param {string} kind "audio" or "video"
   * @param {RTCRtpReceiver} receiver of a track that came
   */
  take(kind, receiver) {
    if (!("jitterBufferTarget" in receiver)) return;
    if (kind === "audio") receiver.jitterBufferTarget = VOICE_WAIT_MS;
    else this.#picture = receiver;
  }

  /**
   * Once a second.
   * @param {Pick<import("./stats.js").LinkStats, "voiceWaited_s" | "voicePlayed">} link
   * @returns {number | null} how much later the voice left its jitter buffer, in the last second, than its picture's
   *   last packet may have come, in ms; null where it cannot tell
   */
  follow({ voiceWaited_s, voicePlayed }) {
    if (voiceWaited_s === null) return null;
    const [waited_s, played] = [voiceWaited_s - this.#waited_s, voicePlayed - this.#played];
    [this.#waited_s, this.#played] = [voiceWaited_s, voicePlayed];
    if (played <= 0) return null;
    const voice_ms = (1000 * waited_s) / played;
    this.#hold(Math.max(0, voice_ms - VOICE_WAIT_MS - SLACK_MS));
    return voice_ms - this.ahead_ms;
  }

  /** @param {number} late_ms the voice is, beyond what is made up for */
  #hold(late_ms) {
    this.#hold_ms += FOLLOW * (late_ms - this.#hold_ms);
    const wanted_ms = Math.round(this.#hold_ms);
    if (!this.#picture || Math.abs(wanted_ms - this.#set_ms) < STEP_MS) return;
    this.#set_ms = wanted_ms;
    this.#picture.jitterBufferTarget = wanted_ms;
  }
}
