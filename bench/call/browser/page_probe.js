/**
 * What a caller says, sees and hears, written down inside the call page. Runs before the page's own scripts.
 *
 * In: `window.fadaPlan` ({mouth: [left, top, width, height] as shares of the picture, size: [w, h], vowel_ms,
 * mic_delay_ms or null}) and whatever call the page makes. Out: `fadaProbe.take()`, the rows since the last call:
 * sound of the microphone and of the returned voice with the moment of every 10 ms block, the mouth of every
 * presented picture with its moments, the server's messages, when `clear` was sent. Every moment is
 * `performance.now()`: blocks carry it as their timestamp, pictures as `expectedDisplayTime` and `receiveTime`.
 */
(() => {
  const plan = window.fadaPlan;
  const THUMB = 64;
  const LOUD = 0.02; // rms of a block in a long vowel
  const rows = { mic: [], back: [], pictures: [], stats: [], clears: [] };
  let [pc, channel, watched, hello] = [null, null, null, null];
  let [loudBlocks, quietBlocks] = [0, 0];
  let problem = null; // of looking at a picture: rows behind it would wait for ever

  const toBase64 = (/** @type {ArrayBuffer} */ buffer) => {
    const bytes = new Uint8Array(buffer);
    let text = "";
    for (let k = 0; k < bytes.length; k += 32768) text += String.fromCharCode(...bytes.subarray(k, k + 32768));
    return btoa(text);
  };

  const readBlock = (/** @type {AudioData} */ block) => {
    const samples = new Float32Array(block.numberOfFrames);
    block.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
    return samples;
  };

  const listen = async (track, out, each) => {
    const reader = new MediaStreamTrackProcessor({ track }).readable.getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const samples = readBlock(value);
      out.push({ at_ms: value.timestamp / 1000, rate_hz: value.sampleRate, samples });
      value.close();
      each?.(samples);
    }
  };

  /** Sends `clear` where a long vowel ends. */
  const watchVowels = (samples) => {
    let sum = 0;
    for (const sample of samples) sum += sample * sample;
    if (Math.sqrt(sum / samples.length) > LOUD) {
      loudBlocks += 1 + quietBlocks;
      quietBlocks = 0;
    } else if (loudBlocks > 0 && ++quietBlocks >= 2) {
      const long = 10 * loudBlocks >= plan.vowel_ms;
      loudBlocks = quietBlocks = 0;
      if (long && channel?.readyState === "open") {
        rows.clears.push(performance.now());
        channel.send(JSON.stringify({ type: "clear" }));
      }
    }
  };

  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (wish) => {
    const stream = await ask(wish);
    void listen(stream.getAudioTracks()[0].clone(), rows.mic, watchVowels);
    if (plan.mic_delay_ms === null) return stream;
    const audio = new AudioContext();
    const delay = new DelayNode(audio, { delayTime: plan.mic_delay_ms / 1000, maxDelayTime: 1 });
    const out = audio.createMediaStreamDestination();
    audio.createMediaStreamSource(stream).connect(delay).connect(out);
    return out.stream;
  };

  const sumOf = (/** @type {Uint32Array} */ words) => {
    let sum = 0;
    for (const word of words) sum = (Math.imul(sum, 31) + word) | 0;
    return sum;
  };

  /** The mouth as luma and a sum over the picture, from the decoder's own planes: no conversion, no canvas. */
  const lookAtPlanes = async (/** @type {VideoFrame} */ frame, left, top, wide, high) => {
    const planes = new Uint8Array(Math.ceil(frame.allocationSize() / 4) * 4);
    const [{ offset, stride }] = await frame.copyTo(planes);
    const [width, height] = plan.size;
    const columns = Array.from({ length: width }, (_, k) => Math.floor(left + ((k + 0.5) * wide) / width));
    const luma = new Uint8Array(width * height);
    for (let row = 0; row < height; row += 1) {
      const line = offset + stride * Math.floor(top + ((row + 0.5) * high) / height);
      for (let k = 0; k < width; k += 1) {
        luma[row * width + k] = Math.max(0, Math.min(255, ((planes[line + columns[k]] - 16) * 255) / 219 + 0.5));
      }
    }
    return { luma, sum: sumOf(new Uint32Array(planes.buffer)) };
  };

  const mouth = new OffscreenCanvas(...plan.size).getContext("2d", { willReadFrequently: true });
  const thumb = new OffscreenCanvas(THUMB, THUMB).getContext("2d", { willReadFrequently: true });

  const lookAtCanvas = (/** @type {VideoFrame} */ frame, left, top, width, height) => {
    mouth.drawImage(frame, left, top, width, height, 0, 0, ...plan.size);
    const { data } = mouth.getImageData(0, 0, ...plan.size);
    const luma = new Uint8Array(data.length / 4);
    for (let k = 0; k < luma.length; k += 1) {
      luma[k] = 0.299 * data[4 * k] + 0.587 * data[4 * k + 1] + 0.114 * data[4 * k + 2] + 0.5;
    }
    thumb.drawImage(frame, 0, 0, THUMB, THUMB);
    return { luma, sum: sumOf(new Uint32Array(thumb.getImageData(0, 0, THUMB, THUMB).data.buffer)) };
  };

  const look = async (/** @type {VideoFrame} */ frame) => {
    const [w, h] = [frame.displayWidth, frame.displayHeight];
    const place = plan.mouth.map((share, k) => share * (k % 2 ? h : w));
    const planar = frame.format === "I420" || frame.format === "NV12";
    return planar ? lookAtPlanes(frame, ...place) : lookAtCanvas(frame, ...place);
  };

  const watch = (/** @type {HTMLVideoElement} */ video) => {
    let before = null; // the sum of the picture before
    const next = (_, seen) => {
      const picture = {
        row: [seen.expectedDisplayTime, seen.receiveTime ?? 0, 1000 * (seen.processingDuration ?? 0),
          seen.presentedFrames, 0],
        luma: null,
      };
      rows.pictures.push(picture);
      const frame = new VideoFrame(video);
      void look(frame).then(({ luma, sum }) => {
        picture.row[4] = sum === before ? 1 : 0;
        before = sum;
        picture.luma = luma;
      }, (error) => { problem = error; }).finally(() => frame.close());
      video.requestVideoFrameCallback(next);
    };
    video.requestVideoFrameCallback(next);
  };

  const Connection = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Connection {
    constructor(...given) {
      super(...given);
      pc = this;
      this.addEventListener("track", ({ track }) => {
        if (track.kind === "audio") void listen(track.clone(), rows.back);
      });
    }
    createDataChannel(...given) {
      channel = super.createDataChannel(...given);
      channel.addEventListener("message", ({ data }) => {
        const message = JSON.parse(data);
        if (message.type === "stats") rows.stats.push({ ...message, at_s: performance.now() / 1e3 });
        if (message.type === "hello") hello = message;
      });
      return channel;
    }
  };

  const joined = (blocks) => {
    const all = new Int16Array(blocks.reduce((sum, { samples }) => sum + samples.length, 0));
    let at = 0;
    for (const { samples } of blocks) {
      for (const sample of samples) all[at++] = Math.max(-32768, Math.min(32767, Math.round(32767 * sample)));
    }
    return {
      at_ms: blocks.map(({ at_ms }) => at_ms),
      lengths: blocks.map(({ samples }) => samples.length),
      rate_hz: blocks[0]?.rate_hz ?? 48000,
      pcm: toBase64(all.buffer),
    };
  };

  window.fadaProbe = {
    /** Begins to watch the page's video. */
    watch: (selector) => {
      const video = document.querySelector(selector);
      if (video === watched) return;
      watched = video;
      watch(video);
    },
    /** Forgets everything so far: for a call after others. */
    forget: () => {
      for (const list of Object.values(rows)) list.length = 0;
    },
    /** The rows since the last call, as JSON: a driver that walks through thousands of values holds a core up. */
    take: () => {
      if (problem) throw problem;
      const [mic, back] = [rows.mic, rows.back].map((list) => list.splice(0));
      const seen = rows.pictures.findIndex(({ luma }) => luma === null);
      const pictures = rows.pictures.splice(0, seen < 0 ? rows.pictures.length : seen);
      const luma = new Uint8Array(pictures.reduce((sum, picture) => sum + picture.luma.length, 0));
      let at = 0;
      for (const picture of pictures) {
        luma.set(picture.luma, at);
        at += picture.luma.length;
      }
      return JSON.stringify({
        mic: joined(mic),
        back: joined(back),
        pictures: pictures.map(({ row }) => row),
        mouths: toBase64(luma.buffer),
        stats: rows.stats.splice(0),
        clears: rows.clears.splice(0),
        hello,
      });
    },
    /** Picture behind sound as the page's own figure says, in ms; null while it says nothing. */
    skew: () => {
      const told = Number.parseFloat(document.querySelector("[data-figure=skew]").textContent.replace("−", "-"));
      return Number.isFinite(told) ? told : null;
    },
    counts: async () => {
      const kept = [];
      (await pc.getStats()).forEach((row) => {
        if (["inbound-rtp", "outbound-rtp", "remote-inbound-rtp", "media-playout"].includes(row.type)) kept.push(row);
        if (row.type === "candidate-pair" && row.nominated) kept.push(row);
      });
      return kept;
    },
  };
})();
