/**
 * The voice that a call sends: one microphone at a time, and silence where there is none.
 *
 * In: which microphone is wanted; the system's own doings. Out: `onChange` whenever another stream, or none, is to be
 * sent; `onTrouble` with what happened. A microphone that ends gives way to the default one, and to silence where there
 * is none; one that does not open changes nothing.
 */

import { Problem } from "../rtc/problems.js";
import { closeMicrophone, openMicrophone, openMicrophoneOrDefault } from "./microphone.js";

export class Voice {
  /** @type {MediaStream | null} */
  #stream = null;
  #open = false;
  #turn = 0; // of all tries to open a microphone, the last counts

  /**
   * @param {(stream: MediaStream | null) => Promise<void>} onChange
   * @param {(problem: Problem) => void} onTrouble
   */
  constructor(onChange, onTrouble) {
    this.onChange = onChange;
    this.onTrouble = onTrouble;
  }

  /** @returns {MediaStreamTrack | null} null is silence */
  get track() {
    return this.#stream?.getAudioTracks()[0] ?? null;
  }

  /** @returns {string} the microphone's device id, "" where there is none */
  get deviceId() {
    return this.track?.getSettings().deviceId ?? "";
  }

  /**
   * @param {string} deviceId "" for the default one
   * @throws {Problem} none opens
   */
  async open(deviceId) {
    this.#open = true;
    await this.#take(() => openMicrophoneOrDefault(deviceId));
  }

  /**
   * Another microphone; the one before stays on until it is there, and where it does not come.
   * @param {string} deviceId "" for the default one
   * @returns {Promise<boolean>} whether it is on
   */
  async choose(deviceId) {
    if (!this.#open) return false;
    try {
      return await this.#take(() => openMicrophone(deviceId));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      const rest = this.#stream ? "The one before stays on." : "The call goes on in silence.";
      this.onTrouble(new Problem("microphone_kept", { cause: error, sentence: `${error.headline}. ${rest}` }));
      return false;
    }
  }

  /** Other microphones are there than before: in silence, any is better than none. */
  async lookAgain() {
    if (!this.#open || this.#stream) return;
    try {
      if (await this.#take(() => openMicrophone(""))) this.#tellOther();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
    }
  }

  /** Lets go of it. */
  close() {
    this.#open = false;
    this.#turn += 1;
    closeMicrophone(this.#stream);
    this.#stream = null;
    void this.onChange(null);
  }

  /**
   * @param {() => Promise<MediaStream>} ask
   * @returns {Promise<boolean>} whether its stream is the one that is sent now
   */
  async #take(ask) {
    const turn = ++this.#turn;
    const stream = await ask();
    if (turn !== this.#turn) {
      closeMicrophone(stream);
      return false;
    }
    const before = this.#stream;
    this.#stream = stream;
    for (const track of stream.getAudioTracks()) {
      track.onended = () => {
        if (this.#stream === stream) void this.#fallBack();
      };
    }
    await this.onChange(stream);
    closeMicrophone(before);
    return true;
  }

  async #fallBack() {
    closeMicrophone(this.#stream);
    this.#stream = null;
    await this.onChange(null);
    try {
      if (await this.#take(() => openMicrophone(""))) this.#tellOther();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (this.#open && !this.#stream) this.onTrouble(new Problem("microphone_lost", { cause: error }));
    }
  }

  #tellOther() {
    const name = this.track?.label;
    const sentence = name ? `Your voice now comes from “${name}”.` : undefined;
    this.onTrouble(new Problem("microphone_replaced", { sentence }));
  }
}
