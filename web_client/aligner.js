/**
 * Picture and voice together: the server sends the voice ahead, and here it waits until its picture is on the screen.
 *
 * In: the two receivers, and the figures of each second. Out: their `jitterBufferTarget`. A browser that aligns two
 * tracks of one stream by itself swings by 60 ms about the right delay and takes half a minute to find it, so the
 * server sends two streams and this does it: the voice waits as long as pictures are found to take to the screen, and where the
 * network holds the voice up for longer, pictures wait for it, beyond `SLACK_MS`.
 * Browsers without `jitterBufferTarget` play both as they come, which is right on a calm network.
 */

const FIRST_WAIT_MS = 60;
const LEAST_WAIT_MS = 40;
const LONGEST_WAIT_MS = 80; // an interrupted voice is heard for as long
const RISE_MS = 10; // a mouth is seen to open so long after its picture's moment: half a picture, less the server's lead
const SLACK_MS = 10;
const FOLLOW = 0.5; // of the way a second
const SMOOTH = 0.2; // of what is new in a second
const STEP_MS = 5; // smaller changes are not worth a shift

export class Aligner {
  /** How much earlier than its picture the voice is sent, as the server says in its greeting. */
  ahead_ms = 0;
  /** @type {RTCRtpReceiver | null} */
  #voice = null;
  /** @type {RTCRtpReceiver | null} */
  #picture = null;
  #waited_s = 0;
  #played = 0;
  /** @type {number | null} smoothed: how much longer the voice should wait than it does */
  #short_ms = null;
  #wait_ms = FIRST_WAIT_MS;
  #hold_ms = 0;
  #set_ms = 0;

  /**
   * @param {string} kind "audio" or "video"
   * @param {RTCRtpReceiver} receiver of a track that came
   */
  take(kind, receiver) {
    if (!("jitterBufferTarget" in receiver)) return;
    if (kind === "audio") {
      this.#voice = receiver;
      receiver.jitterBufferTarget = FIRST_WAIT_MS;
    } else this.#picture = receiver;
  }

  /**
   * Once a second.
   * @param {Pick<import("./stats.js").LinkStats, "voiceWaited_s" | "voicePlayed" | "way_ms">} link
   * @returns {number | null} how much later the voice left its jitter buffer, in the last second, than its picture's
   *   last packet may have come, in ms; null where it cannot tell
   */
  follow({ voiceWaited_s, voicePlayed, way_ms }) {
    if (voiceWaited_s === null) return null;
    const [waited_s, played] = [voiceWaited_s - this.#waited_s, voicePlayed - this.#played];
    [this.#waited_s, this.#played] = [voiceWaited_s, voicePlayed];
    if (played <= 0) return null;
    const voice_ms = (1000 * waited_s) / played;
    if (way_ms !== null) {
      const wish_ms = Math.min(LONGEST_WAIT_MS, this.ahead_ms + way_ms - this.#set_ms + RISE_MS);
      this.#wait(wish_ms - voice_ms);
      this.#hold(Math.max(0, voice_ms - wish_ms - SLACK_MS));
    }
    return voice_ms - this.ahead_ms;
  }

  /** @param {number} short_ms the voice did not wait long enough */
  #wait(short_ms) {
    this.#short_ms = this.#short_ms === null ? short_ms : this.#short_ms + SMOOTH * (short_ms - this.#short_ms);
    if (!this.#voice || Math.abs(this.#short_ms) < STEP_MS) return;
    const wait_ms = this.#wait_ms + Math.sign(this.#short_ms) * STEP_MS;
    if (wait_ms < LEAST_WAIT_MS || wait_ms > LONGEST_WAIT_MS) return;
    this.#short_ms -= wait_ms - this.#wait_ms;
    this.#voice.jitterBufferTarget = this.#wait_ms = wait_ms;
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
