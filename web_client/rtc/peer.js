/**
 * A caller's connection to the server: microphone out, picture and sound in, and what is said over the data channel.
 *
 * In: the microphone's track, an avatar, the scales. Out: a `Link`'s `media`, "figures" and `ended`, "scales" events
 * when others are in force, "avatar", "speaking", and "watchable" (detail: its watch id) once the server has said it.
 */

import { Link } from "./link.js";
import { Problem } from "./problems.js";
import { ScaleLine } from "./scale-line.js";
import { postOffer } from "./signalling.js";

const ASK_AGAIN_MS = 500;

/** @typedef {import("./link.js").Figures} Figures */

export class Peer extends Link {
  /** @type {string | null} */
  #wanted = null;
  /** @type {string | null} the avatar that the server says is on */
  #shown = null;
  #scales = new ScaleLine(
    (wish) => this.send("controls", wish),
    (values) => this.#emit("scales", values),
  );

  /**
   * @param {RTCIceServer[]} servers that help to find a way through the network
   * @param {() => import("./stats.js").Seen | null} look what was seen on the screen since the last call
   */
  constructor(servers, look) {
    super("sendrecv", servers, look);
  }

  /**
   * Offers, and applies the server's answer. Pictures follow when the network path is up.
   * @param {MediaStreamTrack | null} track of the microphone; null is silence
   * @param {import("./signalling.js").CallWish} wish
   * @param {AbortSignal} signal
   * @returns {Promise<string | null>} the call's secret
   */
  async open(track, wish, signal) {
    await this.whileOpen(this.sender.replaceTrack(track), signal);
    this.#wanted ??= wish.avatar;
    /** @type {string | null} */
    let secret = null;
    await this.connect(async (offer) => {
      performance.mark("fada:offer");
      const answer = await postOffer(offer, wish, signal);
      performance.mark("fada:answer");
      secret = answer.secret;
      return answer.description;
    }, signal);
    return secret;
  }


  /**
   * Sends another microphone without a new connection; a closed one takes none, and the next begins with it.
   * @param {MediaStreamTrack | null} track null is silence
   */
  async replaceMicrophone(track) {
    if (!this.closed) await this.sender.replaceTrack(track);
  }

  /**
   * Asks for another face in the running call; an "avatar" event tells when it is there.
   * @param {string} avatar id
   */
  changeAvatar(avatar) {
    this.#wanted = avatar;
    if (this.#shown !== null && this.#shown !== avatar) this.send("avatar", { id: avatar });
  }

  /** @param {import("./scale-line.js").ScaleWish} wish for the running call, from the next window on */
  changeScales(wish) {
    this.#scales.want(wish);
  }

  /** @param {unknown} reason */
  close(reason) {
    this.#scales.close();
    super.close(reason);
  }

  /** @param {Record<string, unknown>} message */
  hear(message) {
    switch (message.type) {
      case "stats":
        this.keepStats(message);
        this.#emit("speaking", message.speaking === true);
        break;
      case "controls":
        this.#scales.hear(message);
        break;
      case "hello":
        this.#scales.open(message);
        if (typeof message.watch_id === "string") this.#emit("watchable", message.watch_id);
        this.#readAvatar(message);
        break;
      case "notice":
        if (message.error === "bad_controls") this.#scales.hear(this.said);
        else this.#readAvatar(message);
        break;
      case "error":
        if (message.error === "replaced") this.close(new Problem("replaced"));
        else this.close(new Problem("broke_off", { sentence: String(message.message ?? "") }));
    }
  }

  /** @param {{avatar?: unknown, error?: unknown}} message what the server says of the face */
  #readAvatar(message) {
    if (typeof message.avatar === "string") {
      this.#shown = message.avatar;
      this.#emit("avatar", this.#shown);
    }
    const other = this.#wanted !== null && this.#wanted !== this.#shown;
    if (other && message.error === "busy") setTimeout(() => this.changeAvatar(this.#wanted ?? ""), ASK_AGAIN_MS);
    else if (other && message.error === undefined) this.changeAvatar(this.#wanted ?? "");
  }

  /**
   * @param {string} type
   * @param {unknown} detail
   */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
