/**
 * One WebRTC connection to the server, of whatever use: picture and sound in, data channel "fada", and the signs that
 * it is lost.
 *
 * In: which way the sound goes, and whom to ask for an answer. Out: `media` (the stream to show), "figures" events once
 * a second, and `ended`, a promise that rejects with a `Problem` when the connection is lost. A link is used once. It
 * gathers its addresses from the moment it is made, so that this may happen while something else is waited for.
 */

import { Aligner } from "./aligner.js";
import { explainNoWay } from "./ice.js";
import { Problem } from "./problems.js";
import { readStats, skewOf } from "./stats.js";

const CHANNEL = "fada"; // docs/protocol.md
const PING_EVERY_MS = 1000;
const UNANSWERED_PINGS = 4; // counted, not timed: a sleeping tab is no lost server
const GATHER_AT_MOST_MS = 1000;
const DISCONNECTED_AT_MOST_MS = 3000;
const STALLED_SECONDS = 5;
const BYE_LEAVES_WITHIN_MS = 200;

/** @typedef {import("./stats.js").LinkStats} LinkStats */
/**
 * @typedef {object} Figures
 * @property {Record<string, unknown>} server the server's last "stats" message
 * @property {LinkStats} link what this browser measured
 * @property {number | null} rtt_ms of the last ping
 * @property {number | null} pictures shown in the last second; null where the browser cannot tell
 */

export class Link extends EventTarget {
  /** The picture and sound that come in. */
  media = new MediaStream();
  /** @type {Promise<never>} */
  ended;
  /**
   * The server's last "stats" message; a subclass that hears one hands it to `keepStats`.
   * @protected @type {Record<string, unknown>}
   */
  said = {};

  #pc;
  #channel;
  /** @type {Promise<void>} */
  #gathered;
  #closed = false;
  #saidBye = false;
  /** @type {unknown} why */
  #reason = null;
  #answer = "";
  #unanswered = 0;
  #decoded = -1;
  #stalled_s = 0;
  /** @type {number | null} */
  #rtt_ms = null;
  /** @type {(problem: unknown) => void} */
  #end = () => {};
  #ticker = 0;
  #aligner = new Aligner();
  #look;
  #servers;
  #grace = 0;

  /**
   * @param {"sendrecv" | "recvonly"} sound which way it goes; the picture always comes in
   * @param {RTCIceServer[]} servers that help to find a way through the network
   * @param {() => import("./stats.js").Seen | null} [look] what was seen on the screen since the last call
   */
  constructor(sound, servers, look = () => null) {
    super();
    this.#servers = servers;
    this.#look = look;
    this.#pc = new RTCPeerConnection({ iceServers: servers, bundlePolicy: "max-bundle" });
    this.#channel = this.#pc.createDataChannel(CHANNEL, { ordered: true });
    this.ended = new Promise((_, reject) => (this.#end = reject));
    this.ended.catch(() => {}); // Whoever waits for it hears of it; nobody need wait.
    /** @protected */
    this.sender = this.#pc.addTransceiver("audio", { direction: sound }).sender;
    this.#pc.addTransceiver("video", { direction: "recvonly" });
    this.#pc.addEventListener("track", ({ track, receiver }) => {
      this.media.addTrack(track);
      this.#aligner.take(track.kind, receiver);
    });
    this.#pc.addEventListener("connectionstatechange", () => this.#watchState());
    this.#channel.addEventListener("message", (event) => this.#read(event.data));
    this.#channel.addEventListener("close", () => this.#lose("lost"));
    this.#gathered = this.#gather();
    this.#gathered.catch(() => {}); // `connect` tells.
  }

  /** @returns {RTCPeerConnectionState} */
  get linkState() {
    return this.#pc.connectionState;
  }

  /**
   * Offers, and applies the answer. Pictures follow when the network path is up.
   * @param {(offer: RTCSessionDescription) => Promise<RTCSessionDescriptionInit>} ask
   * @param {AbortSignal} signal
   */
  async connect(ask, signal) {
    await this.whileOpen(this.#gathered, signal);
    const offer = /** @type {RTCSessionDescription} */ (this.#pc.localDescription);
    const answer = await this.whileOpen(ask(offer), signal);
    this.#answer = answer.sdp ?? "";
    await this.whileOpen(this.#pc.setRemoteDescription(answer).catch(refuseAnswer), signal);
    this.#ticker = setInterval(() => void this.#tick(), PING_EVERY_MS);
  }

  /**
   * A step of this connection. A closed connection refuses its steps with errors of its own: the reason counts.
   * @protected
   * @template T
   * @param {Promise<T>} step
   * @param {AbortSignal} signal
   * @returns {Promise<T>} rejects with the signal's reason, or this link's, when either has ended meanwhile
   */
  async whileOpen(step, signal) {
    try {
      return await step;
    } finally {
      signal.throwIfAborted();
      if (this.#closed) throw this.#reason;
    }
  }

  /** @returns {Problem} why no picture has come by now */
  whyDark() {
    if (this.linkState === "connected") return new Problem("no_video");
    const offer = this.#pc.localDescription?.sdp ?? "";
    const tried = { offer, answer: this.#answer, page: location.hostname, servers: this.#servers };
    return new Problem("blocked_network", { sentence: explainNoWay(tried) });
  }

  /** @returns {boolean} */
  get closed() {
    return this.#closed;
  }

  /** Says that its use is over, and not this connection alone; `close` then gives the word time to leave. */
  sayBye() {
    this.send("bye");
    this.#saidBye = true;
  }

  /**
   * Ends the connection; `ended` rejects with the reason. The call itself may outlive it: only "bye" ends that.
   * @param {unknown} reason
   */
  close(reason) {
    if (this.#closed) return;
    this.#closed = true;
    this.#reason = reason;
    clearInterval(this.#ticker);
    clearTimeout(this.#grace);
    for (const receiver of this.#pc.getReceivers()) receiver.track.enabled = false;
    if (this.#saidBye) setTimeout(() => this.#pc.close(), BYE_LEAVES_WITHIN_MS);
    else this.#pc.close();
    this.#end(reason);
  }

  /**
   * @protected
   * @param {string} type
   * @param {Record<string, unknown>} [fields]
   */
  send(type, fields = {}) {
    if (this.#channel.readyState === "open") this.#channel.send(JSON.stringify({ type, ...fields }));
  }

  /**
   * @protected
   * @param {Record<string, unknown>} stats
   */
  keepStats(stats) {
    this.said = stats;
  }

  /**
   * Takes one message of the server; a subclass that cares has its own.
   * @protected
   * @param {Record<string, unknown>} _message
   */
  hear(_message) {}

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
    if (state === "failed") this.close(this.#decoded < 0 ? this.whyDark() : new Problem("lost"));
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
      this.send("ping", { t: performance.now() });
    }
    const link = await readStats(this.#pc).catch(() => null);
    if (this.#closed || !link) return; // A connection that closes meanwhile tells nothing.
    const seen = this.#look();
    link.way_ms = seen?.way_ms ?? (link.buffer_ms === null ? null : link.buffer_ms + (link.decode_ms ?? 0));
    link.voiceLate_ms = this.#aligner.follow(link);
    link.skew_ms = skewOf(link, this.said);
    this.#stalled_s = link.framesDecoded > this.#decoded ? 0 : this.#stalled_s + 1;
    if (this.#decoded > 0 && this.#stalled_s >= STALLED_SECONDS) return this.#lose("no_video");
    this.#decoded = Math.max(this.#decoded, link.framesDecoded || -1);
    /** @type {Figures} */
    const figures = { server: this.said, link, rtt_ms: this.#rtt_ms, pictures: seen?.pictures ?? null };
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
    if (message?.type === "pong") {
      if (typeof message.t === "number") this.#rtt_ms = performance.now() - message.t;
    } else if (message) {
      if (message.type === "hello") this.#aligner.ahead_ms = Number(message.voice_ahead_ms) || 0;
      this.hear(message);
    }
  }
}

/** @param {unknown} error of a browser that cannot use what the server answered */
function refuseAnswer(error) {
  const said = error instanceof Error ? error.message : String(error);
  throw new Problem("refused", { cause: error, sentence: `This browser cannot use its answer: ${said}` });
}
