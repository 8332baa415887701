// Images and what the slider does to them: pure functions.
//
// An image is {height, width, channels, pixels}: bytes, row by row. Everything is
// computed here and not by the canvas, so that each browser sends the same bytes.

const NOISE_SEED = 1;

/** Returns numbers in [0, 1), the same for the same seed (mulberry32). */
export function random(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Returns an image of a size whose pixels are all noise, evenly 0 to 255. */
export function noise({ height, width, channels }, seed = NOISE_SEED) {
  const next = random(seed);
  const pixels = new Uint8ClampedArray(height * width * channels);
  return { height, width, channels, pixels: pixels.map(() => 256 * next()) };
}

/** Returns a pixel of a channel; outside of the image it is black. */
function at({ height, width, channels, pixels }, row, column, channel) {
  if (row < 0 || row >= height || column < 0 || column >= width) return 0;
  return pixels[(row * width + column) * channels + channel];
}

/** Returns an image whose pixels are value(row, column, channel), rounded. */
function build({ height, width, channels }, value) {
  const pixels = new Uint8ClampedArray(height * width * channels);
  let place = 0;
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      for (let channel = 0; channel < channels; channel++) {
        pixels[place++] = value(row, column, channel);
      }
    }
  }
  return { height, width, channels, pixels };
}

/** Turns an image to the left about its middle, bilinear, black around it. */
export function rotate(image, degrees) {
  const angle = (degrees * Math.PI) / 180;
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const [middleRow, middleColumn] = [(image.height - 1) / 2, (image.width - 1) / 2];
  return build(image, (row, column, channel) => {
    const [y, x] = [row - middleRow, column - middleColumn];
    const [fromRow, fromColumn] = [
      middleRow + cos * y + sin * x,
      middleColumn - sin * y + cos * x,
    ];
    const [top, left] = [Math.floor(fromRow), Math.floor(fromColumn)];
    const [down, right] = [fromRow - top, fromColumn - left];
    return (
      (1 - down) * (1 - right) * at(image, top, left, channel) +
      (1 - down) * right * at(image, top, left + 1, channel) +
      down * (1 - right) * at(image, top + 1, left, channel) +
      down * right * at(image, top + 1, left + 1, channel)
    );
  });
}

/** Blurs an image by a Gaussian of `sigma` pixels; its edges go on outside. */
export function blur(image, sigma) {
  if (!sigma) return image;
  const radius = Math.ceil(4 * sigma);
  const offsets = Array.from({ length: 2 * radius + 1 }, (_, i) => i - radius);
  const weights = offsets.map((offset) =>
    Math.exp((-offset * offset) / (2 * sigma ** 2)),
  );
  const sum = weights.reduce((a, b) => a + b);
  const inside = (place, size) => Math.min(Math.max(place, 0), size - 1);
  const along = (pixel, place, size) =>
    offsets.reduce(
      (all, offset, i) => all + weights[i] * pixel(inside(place + offset, size)),
      0,
    ) / sum;
  const { height, width, channels } = image;
  // Between the two passes nothing is rounded.
  const rows = new Float64Array(image.pixels.length);
  build(image, (row, column, channel) => {
    const value = along((other) => at(image, row, other, channel), column, width);
    rows[(row * width + column) * channels + channel] = value;
    return 0;
  });
  const half = { height, width, channels, pixels: rows };
  return build(image, (row, column, channel) =>
    along((other) => at(half, other, column, channel), row, height),
  );
}

/** Replaces an image by noise: (1 - share) image + share noise. */
export function mixNoise(image, share) {
  const other = noise(image);
  return build(
    image,
    (row, column, channel) =>
      (1 - share) * at(image, row, column, channel) +
      share * at(other, row, column, channel),
  );
}

const range = (stop, step) =>
  Array.from({ length: Math.round(stop / step) + 1 }, (_, i) => i * step);

/** What the slider can do: values, how they are written, and the change itself. */
export const CHANGES = {
  rotate: {
    title: "Rotation",
    values: range(180, 10),
    write: (x) => `${x}°`,
    apply: rotate,
  },
  blur: { title: "Blur", values: range(4, 0.25), write: (x) => `${x} px`, apply: blur },
  noise: {
    title: "Noise",
    values: range(100, 5),
    write: (x) => `${x} %`,
    apply: (image, x) => mixNoise(image, x / 100),
  },
};

/** Draws an image, pixel for pixel, on a canvas of its size. */
export function paint(canvas, image) {
  const { height, width, channels } = image;
  [canvas.height, canvas.width] = [height, width];
  const context = canvas.getContext("2d");
  const data = context.createImageData(width, height);
  for (let place = 0; place < height * width; place++) {
    for (let channel = 0; channel < 3; channel++) {
      data.data[4 * place + channel] =
        image.pixels[place * channels + (channels === 3 ? channel : 0)];
    }
    data.data[4 * place + 3] = 255;
  }
  context.putImageData(data, 0, 0);
}

/**
 * Scales what a canvas can draw to a size, whole, with bars where its form differs.
 *
 * By halves first: at one go, browsers would leave out most pixels of a photo.
 * `inverted` is for dark things on a light ground, where training had the opposite.
 */
export function resize(source, { height, width, channels }, inverted = false) {
  const scale = Math.min(height / source.height, width / source.width);
  let [from, high, wide] = [source, source.height, source.width];
  const draw = (next, left, top, w, h) => {
    const context = next.getContext("2d", { willReadFrequently: true });
    // Transparent pixels and bars are ground, which is black in the end.
    context.fillStyle = inverted ? "#fff" : "#000";
    context.fillRect(0, 0, next.width, next.height);
    context.imageSmoothingQuality = "high";
    context.drawImage(from, left, top, w, h);
    [from, high, wide] = [next, next.height, next.width];
    return context;
  };
  const canvas = (w, h) =>
    Object.assign(document.createElement("canvas"), { width: w, height: h });
  while (
    scale * source.height * 2 <= high &&
    scale * source.width * 2 <= wide &&
    high > 1 &&
    wide > 1
  ) {
    const [h, w] = [Math.ceil(high / 2), Math.ceil(wide / 2)];
    draw(canvas(w, h), 0, 0, w, h);
  }
  const [h, w] = [
    Math.max(1, Math.round(scale * source.height)),
    Math.max(1, Math.round(scale * source.width)),
  ];
  const last = draw(
    canvas(width, height),
    Math.floor((width - w) / 2),
    Math.floor((height - h) / 2),
    w,
    h,
  );
  const { data } = last.getImageData(0, 0, width, height);
  return build({ height, width, channels }, (row, column, channel) => {
    const place = 4 * (row * width + column);
    const [red, green, blue] = data.slice(place, place + 3);
    // Brightness as in ITU-R BT.601.
    const value =
      channels === 1
        ? 0.299 * red + 0.587 * green + 0.114 * blue
        : [red, green, blue][channel];
    return inverted ? 255 - value : value;
  });
}
