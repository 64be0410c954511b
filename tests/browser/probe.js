/**
 * Measures what a viewer gets, inside the page. In: a <video> and a length. Out: one row per presented picture.
 *
 * A row is [media clock ms, presented pictures so far, change of the whole picture, change in the mouth region,
 * change in the hair region, loudness of the returned sound in dBFS]. Changes are mean absolute differences to
 * the picture before, on luma 0..255, on a copy scaled to 128 x 128.
 */
async ({ selector, seconds, regions }) => {
  const SIDE = 128;
  const video = document.querySelector(selector);
  const canvas = new OffscreenCanvas(SIDE, SIDE);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const audio = new AudioContext();
  const analyser = new AnalyserNode(audio, { fftSize: 2048 });
  audio.createMediaStreamSource(video.srcObject).connect(analyser);
  const samples = new Float32Array(2048);
  const rows = [];
  let before = null;

  const readLuma = () => {
    context.drawImage(video, 0, 0, SIDE, SIDE);
    const { data } = context.getImageData(0, 0, SIDE, SIDE);
    const luma = new Float32Array(SIDE * SIDE);
    for (let k = 0; k < luma.length; k += 1) {
      luma[k] = 0.299 * data[4 * k] + 0.587 * data[4 * k + 1] + 0.114 * data[4 * k + 2];
    }
    return luma;
  };
  const change = (a, b, [left, top, width, height]) => {
    let sum = 0;
    const [x0, y0] = [Math.round(left * SIDE), Math.round(top * SIDE)];
    const [x1, y1] = [Math.round((left + width) * SIDE), Math.round((top + height) * SIDE)];
    for (let y = y0; y < y1; y += 1) for (let x = x0; x < x1; x += 1) sum += Math.abs(a[y * SIDE + x] - b[y * SIDE + x]);
    return sum / ((x1 - x0) * (y1 - y0));
  };
  const loudness = () => {
    analyser.getFloatTimeDomainData(samples);
    let sum = 0;
    for (const sample of samples) sum += sample * sample;
    return 10 * Math.log10(sum / samples.length + 1e-12);
  };

  const started = performance.now();
  await new Promise((resolve) => {
    // A picture that never comes must not hang the measurement: the timer ends it.
    const limit = setTimeout(resolve, seconds * 1000 + 500);
    const next = (now, seen) => {
      const luma = readLuma();
      const changes = before ? [[0, 0, 1, 1], regions.mouth, regions.hair].map((box) => change(luma, before, box)) : [0, 0, 0];
      before = luma;
      rows.push([now - started, seen.presentedFrames, ...changes, loudness()]);
      if (now - started < seconds * 1000) return video.requestVideoFrameCallback(next);
      clearTimeout(limit);
      resolve();
    };
    video.requestVideoFrameCallback(next);
  });
  await audio.close();
  return { rows, measured_ms: performance.now() - started };
}
