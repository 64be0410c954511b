/*
 * Looks at the browser before anything else does, in the JavaScript of old ones, so that whoever opens the page with one
 * of them reads why nothing happens. In: what this browser has. Out: `data-lacks` on <html>, what a call needs and it
 * has not; and, where the page's modules did not come to their end, a sentence in the status line that says why.
 *
 * Newer than the oldest browsers named below, and therefore done without, by hand, or only where it is there:
 * AbortSignal.any and .timeout, requestVideoFrameCallback and its receiveTime, jitterBufferTarget,
 * estimatedPlayoutTimestamp, roundRect, canvas filters, RTCRtpScriptTransform, structuredClone, Array's findLast and
 * toSorted, Object.groupBy, Promise.withResolvers; in style sheets light-dark(), :has(), color-mix(), nesting, svh,
 * text-wrap. tests/test_page_rooms.py holds the modules to it.
 */
(function () {
  var OLDEST = "Chrome, Edge or OBS with 98, Firefox 113, Safari 15.4, or newer ones";
  /** @type {Record<string, unknown>} */
  var needed = {
    "AbortSignal.throwIfAborted": window.AbortSignal && "throwIfAborted" in AbortSignal.prototype,
    "replaceChildren": "replaceChildren" in Element.prototype,
    "ResizeObserver": "ResizeObserver" in window,
    "dialog": window.HTMLDialogElement && "showModal" in HTMLDialogElement.prototype,
    "connectionState": !window.RTCPeerConnection || "connectionState" in RTCPeerConnection.prototype,
    "replaceTrack": !window.RTCRtpSender || "replaceTrack" in RTCRtpSender.prototype
  };
  var lacks = Object.keys(needed).filter(function (name) { return !needed[name]; });
  var page = document.documentElement;
  if (lacks.length) page.setAttribute("data-lacks", lacks.join(", "));
  page.setAttribute("data-oldest", OLDEST);

  var broken = "";
  var incomplete = false;
  window.addEventListener("error", function (event) {
    if (event.target instanceof HTMLScriptElement) incomplete = true;
    else if (event.message && !broken) broken = event.message;
  }, true);

  /**
   * @param {string} selector
   * @param {string} text
   */
  function write(selector, text) {
    var element = document.querySelector(selector);
    if (element) element.textContent = text;
  }

  /**
   * @param {string} headline
   * @param {string} sentence
   */
  function say(headline, sentence) {
    var status = document.getElementById("status");
    if (status) status.setAttribute("data-tone", "error");
    document.body.setAttribute("data-state", "ended");
    write("#headline", headline);
    write("#detail, #sentence", sentence);
  }

  window.addEventListener("load", function () {
    if (page.hasAttribute("data-ready")) return;
    if (incomplete) say("The page is not complete", "A part of it did not come. Reload it.");
    else if (lacks.length || !("noModule" in document.createElement("script"))) {
      say("This browser is too old", "Use " + OLDEST + ".");
    } else say("This page made a mistake", broken + ". Reload it, or use a newer browser: " + OLDEST + ".");
  });
})();
