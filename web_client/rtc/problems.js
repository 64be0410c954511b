/**
 * Everything that can go wrong, in plain words.
 *
 * In: a problem's code (from the microphone, the server or the connection). Out: a headline, one sentence
 * that says what to do, and whether trying again by itself can help.
 */

/**
 * @typedef {"insecure_context" | "too_old" | "unsupported" | "no_microphone" | "permission_refused" | "microphone_busy"
 *   | "microphone_lost" | "server_full" | "not_ready" | "unknown_avatar" | "unreachable" | "lost" | "no_video"
 *   | "blocked_network" | "refused" | "gave_up" | "broke_off" | "autoplay_blocked" | "no_session" | "unknown_session"
 *   | "session_ended" | "session_away" | "viewers_full" | "replaced" | "own_fault" | "microphone_replaced"
 *   | "microphone_kept" | "microphone_silent"} ProblemCode
 */

/**
 * @typedef {object} ProblemText
 * @property {string} headline
 * @property {string} sentence what happened and what to do
 * @property {boolean} retry whether the page tries again by itself
 */

/* The page keeps two lines of a phone free for a sentence. Only the first may be longer: it never gives way. */
/** @type {Readonly<Record<ProblemCode, ProblemText>>} */
const TEXTS = Object.freeze({
  insecure_context: {
    headline: "This address is not secure",
    sentence: "Browsers give the microphone only to https:// addresses and to localhost. Open this page at one of those.",
    retry: false,
  },
  unsupported: {
    headline: "This browser cannot make calls",
    sentence: "It has no WebRTC, or it is switched off. Use a current Chrome, Edge, Firefox or Safari.",
    retry: false,
  },
  too_old: {
    headline: "This browser is too old",
    sentence: "Use a newer one.",
    retry: false,
  },
  no_microphone: {
    headline: "No microphone found",
    sentence: "Plug one in or switch it on, then press Start again.",
    retry: false,
  },
  permission_refused: {
    headline: "Microphone not allowed",
    sentence: "Allow it beside the page's address, then press Start again.",
    retry: false,
  },
  microphone_busy: {
    headline: "The microphone is taken",
    sentence: "Close the program that holds it or pick another, then press Start.",
    retry: false,
  },
  microphone_lost: {
    headline: "The microphone went away",
    sentence: "The call goes on in silence. Plug it in, or pick another one.",
    retry: false,
  },
  microphone_replaced: {
    headline: "The microphone went away",
    sentence: "Your default microphone has taken over.",
    retry: false,
  },
  microphone_kept: {
    headline: "That microphone does not open",
    sentence: "The one before stays on.",
    retry: false,
  },
  microphone_silent: {
    headline: "Nothing is heard",
    sentence: "Your microphone is muted, or it is the wrong one.",
    retry: false,
  },
  server_full: {
    headline: "Every seat is taken",
    sentence: "The server is full. Wait for a seat, then press Start again.",
    retry: false,
  },
  not_ready: {
    headline: "The server is warming up",
    sentence: "It is still loading its networks.",
    retry: true,
  },
  unknown_avatar: {
    headline: "That face is not here",
    sentence: "The server does not know it. Choose another, then press Start.",
    retry: false,
  },
  unreachable: {
    headline: "The server does not answer",
    sentence: "It may be restarting.",
    retry: true,
  },
  lost: {
    headline: "Connection lost",
    sentence: "The server stopped answering.",
    retry: true,
  },
  no_video: {
    headline: "No picture arrives",
    sentence: "The network may hold it back.",
    retry: true,
  },
  blocked_network: {
    headline: "No way through the network",
    sentence: "A firewall may block UDP.",
    retry: true,
  },
  refused: {
    headline: "The server refused the call",
    sentence: "Reload the page and press Start again.",
    retry: false,
  },
  broke_off: {
    headline: "The call broke off",
    sentence: "The server ended it.",
    retry: true,
  },
  gave_up: {
    headline: "Still no connection",
    sentence: "The microphone is off. Check the server, then press Start.",
    retry: false,
  },
  autoplay_blocked: {
    headline: "The picture is held back",
    sentence: "Press the button on the picture to show it.",
    retry: false,
  },
  replaced: {
    headline: "The call goes on elsewhere",
    sentence: "Another window has taken it over. Start takes it back.",
    retry: false,
  },
  own_fault: {
    headline: "This page made a mistake",
    sentence: "Reload it, and report it if it comes again.",
    retry: false,
  },
  no_session: {
    headline: "No call in this address",
    sentence: "Copy the watch link again on the page of the call.",
    retry: false,
  },
  unknown_session: {
    headline: "There is no such call",
    sentence: "It has ended or not begun, or the link is not complete.",
    retry: true,
  },
  session_away: {
    headline: "The call is interrupted",
    sentence: "It comes back here by itself when it goes on.",
    retry: true,
  },
  session_ended: {
    headline: "The call has ended",
    sentence: "The next one has a link of its own.",
    retry: false,
  },
  viewers_full: {
    headline: "Every place is taken",
    sentence: "As many watch as the server allows.",
    retry: true,
  },
});

/** An error with a code of this page; its text comes from the table above, or from the server. */
export class Problem extends Error {
  /**
   * @param {ProblemCode} code
   * @param {{sentence?: string, cause?: unknown}} [more] `sentence` replaces the table's (the server's own words)
   */
  constructor(code, more = {}) {
    const text = TEXTS[code];
    super(more.sentence ?? text.sentence, { cause: more.cause });
    this.name = "Problem";
    this.code = code;
    this.headline = text.headline;
    this.retry = text.retry;
  }

  /** @returns {string} what happened and what to do */
  get sentence() {
    return this.message;
  }
}

/**
 * @param {unknown} error anything thrown
 * @returns {Problem} the same if it is one already; anything else is a fault of this page, and trying again mends none
 */
export function asProblem(error) {
  if (error instanceof Problem) return error;
  const said = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return new Problem("own_fault", { cause: error, sentence: `${said.replace(/[.\s]*$/, "")}. Reload it, and report it if it comes again.` });
}
