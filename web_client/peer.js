/**
 * One WebRTC connection to the server: microphone out, picture and sound in, data channel "fada".
 *
 * In: the microphone's track, an avatar, the scales. Out: `media` (the stream to show), "figures" events once a
 * second, "scales" events when others are in force, and `ended`, a promise that rejects with a `Problem` when the
 * connection is lost. A peer is used once. It gathers its addresses from the moment it is made, so that this may
 * happen while the microphone opens.
 */

import { Problem } from "./problems.js";
import { ScaleLine } from "./scale-line.js";
import { postOffer } from "./signalling.js";
import { readStats } from "./stats.js";

const CHANNEL = "fada"; // docs/protocol.md
const PING_EVERY_MS = 1000;
const UNANSWERED_PINGS = 4; // counted, not timed: a sleeping tab is no lost server
const GATHER_AT_MOST_MS = 1000;
const DISCONNECTED_AT_MOST_MS = 3000;
const STALLED_SECONDS = 5;
const ASK_AGAIN_MS = 500;

/** @typedef {import("./stats.js").LinkStats} LinkStats */
/**
 * @typedef {object} Figures
 * @property {Record<string, unknown>} server the server's last "stats" message
 * @property {LinkStats} link what this browser measured
 * @property {number | null} rtt_ms of the last ping
 */

export class Peer extends EventTarget {
  /** The picture and sound that come back. */
  media = new MediaStream();
  /** @type {Promise<never>} */
  ended;

  #pc = new RTCPeerConnection({ iceServers: [], bundlePolicy: "max-bundle" });
  #channel = this.#pc.createDataChannel(CHANNEL, { ordered: true });
  /** @type {RTCRtpSender} */
  #sender;
  /** @type {Promise<void>} */
  #gathered;
  #closed = false;
  #unanswered = 0;
  #decoded = -1;
  #stalled_s = 0;
  /** @type {number | null} */
  #rtt_ms = null;
  /** @type {Record<string, unknown>} */
  #said = {};
  /** @type {string | null} */
  #wanted = null;
  /** @type {string | null} the avatar that the server says is on */
  #shown = null;
  /** @type {(problem: unknown) => void} */
  #end = () => {};
  #ticker = 0;
  #grace = 0;
  #scales = new ScaleLine(
    (wish) => this.#send("controls", wish),
    (values) => this.dispatchEvent(new CustomEvent("scales", { detail: values })),
  );

  constructor() {
    super();
    this.ended = new Promise((_, reject) => (this.#end = reject));
    this.ended.catch(() => {}); // Whoever waits for it hears of it; nobody need wait.
    this.#sender = this.#pc.addTransceiver("audio", { direction: "sendrecv" }).sender;
    this.#pc.addTransceiver("video", { direction: "recvonly" });
    this.#pc.addEventListener("track", (event) => this.media.addTrack(event.track));
    this.#pc.addEventListener("connectionstatechange", () => this.#watchState());
    this.#channel.addEventListener("message", (event) => this.#read(event.data));
    this.#channel.addEventListener("close", () => this.#lose("lost"));
    this.#gathered = this.#gather();
    this.#gathered.catch(() => {}); // `open` tells.
  }

  /** @returns {RTCPeerConnectionState} */
  get linkState() {
    return this.#pc.connectionState;
  }

  /**
   * Offers, and applies the server's answer. Pictures follow when the network path is up.
   * @param {MediaStreamTrack} track of the microphone
   * @param {string | null} avatar
   * @param {import("./scales.js").ScaleWish} scales
   * @param {AbortSignal} signal
   */
  async open(track, avatar, scales, signal) {
    await this.#sender.replaceTrack(track);
    await this.#gathered;
    signal.throwIfAborted();
    this.#wanted ??= avatar;
    const offer = this.#pc.localDescription;
    if (!offer) throw new Problem("lost");
    performance.mark("fada:offer");
    const answer = await postOffer(offer, avatar, scales, signal);
    performance.mark("fada:answer");
    signal.throwIfAborted();
    await this.#pc.setRemoteDescription(answer);
    signal.throwIfAborted();
    this.#ticker = setInterval(() => void this.#tick(), PING_EVERY_MS);
  }

  /**
   * Sends another microphone without a new connection.
   * @param {MediaStreamTrack} track
   */
  async replaceMicrophone(track) {
    await this.#sender.replaceTrack(track);
  }

  /**
   * Asks for another face in the running call; an "avatar" event tells when it is there.
   * @param {string} avatar id
   */
  changeAvatar(avatar) {
    this.#wanted = avatar;
    if (this.#shown !== null && this.#shown !== avatar) this.#send("avatar", { id: avatar });
  }

  /** @param {import("./scales.js").ScaleWish} wish for the running call, from the next window on */
  changeScales(wish) {
    this.#scales.want(wish);
  }

  /**
   * Ends the connection at the wish of this page; `ended` rejects with the reason.
   * @param {unknown} reason
   */
  close(reason) {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#ticker);
    clearTimeout(this.#grace);
    this.#scales.close();
    this.#send("bye");
    this.#channel.close();
    this.#pc.close();
    this.#end(reason);
  }

  /** Makes the offer and waits until this machine's addresses are in it (the server takes no later ones). */
  async #gather() {
    await this.#pc.setLocalDescription(await this.#pc.createOffer());
    if (this.#pc.iceGatheringState === "complete") return;
    await new Promise((resolve) => {
      const finish = () => {
        clearTimeout(limit);
        resolve(undefined);
      };
      const limit = setTimeout(finish, GATHER_AT_MOST_MS);
      this.#pc.addEventListener("icegatheringstatechange", () => {
        if (this.#pc.iceGatheringState === "complete") finish();
      });
    });
  }

  #watchState() {
    clearTimeout(this.#grace);
    const state = this.#pc.connectionState;
    if (state === "failed") this.#lose(this.#decoded < 0 ? "blocked_network" : "lost");
    if (state === "closed") this.#lose("lost");
    if (state === "disconnected") {
      this.#grace = setTimeout(() => this.#lose("lost"), DISCONNECTED_AT_MOST_MS);
    }
  }

  /** @param {import("./problems.js").ProblemCode} code */
  #lose(code) {
    this.close(new Problem(code));
  }

  async #tick() {
    if (this.#channel.readyState === "open") {
      if (++this.#unanswered > UNANSWERED_PINGS) return this.#lose("lost");
      this.#send("ping", { t: performance.now() });
    }
    const link = await readStats(this.#pc);
    if (this.#closed) return;
    this.#stalled_s = link.framesDecoded > this.#decoded ? 0 : this.#stalled_s + 1;
    if (this.#decoded > 0 && this.#stalled_s >= STALLED_SECONDS) return this.#lose("no_video");
    this.#decoded = Math.max(this.#decoded, link.framesDecoded || -1);
    /** @type {Figures} */
    const figures = { server: this.#said, link, rtt_ms: this.#rtt_ms };
    this.dispatchEvent(new CustomEvent("figures", { detail: figures }));
  }

  /** @param {unknown} data one message of the channel */
  #read(data) {
    this.#unanswered = 0;
    let message;
    try {
      message = JSON.parse(String(data));
    } catch {
      return; // Not ours; the next one may be.
    }
    switch (message?.type) {
      case "pong":
        if (typeof message.t === "number") this.#rtt_ms = performance.now() - message.t;
        break;
      case "stats":
        this.#said = message;
        this.dispatchEvent(new CustomEvent("speaking", { detail: message.speaking === true }));
        break;
      case "controls":
        this.#scales.hear(message);
        break;
      case "hello":
        this.#scales.open();
        this.#readAvatar(message);
        break;
      case "notice":
        if (message.error === "bad_controls") this.#scales.hear(this.#said);
        else this.#readAvatar(message);
        break;
      case "error":
        this.close(new Problem("broke_off", { sentence: String(message.message ?? "") }));
    }
  }

  /** @param {{avatar?: unknown, error?: unknown}} message what the server says of the face */
  #readAvatar(message) {
    if (typeof message.avatar === "string") {
      this.#shown = message.avatar;
      this.dispatchEvent(new CustomEvent("avatar", { detail: this.#shown }));
    }
    const other = this.#wanted !== null && this.#wanted !== this.#shown;
    if (other && message.error === "busy") setTimeout(() => this.changeAvatar(this.#wanted ?? ""), ASK_AGAIN_MS);
    else if (other && message.error === undefined) this.changeAvatar(this.#wanted ?? "");
  }

  /**
   * @param {string} type
   * @param {Record<string, unknown>} [fields]
   */
  #send(type, fields = {}) {
    if (this.#channel.readyState === "open") this.#channel.send(JSON.stringify({ type, ...fields }));
  }
}
