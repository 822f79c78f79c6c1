// Pixels as OpenCV treats them in the program: `fer_jax.preprocess.images` and `fer_jax.faces.cropping`.
// An image is {width, height, channels, data}, rows of interleaved bytes.

// For each of `to` places the [source, weight] pairs that make it of `from` places.
function taps(from, to, kind) {
  const scale = from / to;
  return Array.from({ length: to }, (_, i) => {
    if (kind === "area" && scale >= 1) {
      const [start, end] = [i * scale, Math.min((i + 1) * scale, from)];
      const pairs = [];
      for (let at = Math.floor(start); at < end - 1e-9; at++) {
        pairs.push([at, (Math.min(at + 1, end) - Math.max(at, start)) / (end - start)]);
      }
      return pairs;
    }
    let at, part;
    if (kind === "area") {  // OpenCV's INTER_AREA enlarges so that whole pixels keep their values
      at = Math.floor(i * scale);
      part = Math.max(0, i + 1 - (at + 1) / scale) % 1;
    } else {
      at = Math.floor((i + 0.5) * scale - 0.5);
      part = (i + 0.5) * scale - 0.5 - at;
    }
    const inside = (place) => Math.min(Math.max(place, 0), from - 1);
    return [[inside(at), 1 - part], [inside(at + 1), part]];
  });
}

export function resize(image, width, height, kind = "area") {
  if (image.width === width && image.height === height) return image;
  const { channels, data } = image, across = taps(image.width, width, kind), down = taps(image.height, height, kind);
  const rows = new Float32Array(image.height * width * channels), result = new Uint8ClampedArray(height * width * channels);
  for (let y = 0, to = 0; y < image.height; y++) {
    const row = y * image.width * channels;
    for (const pairs of across) {
      for (let c = 0; c < channels; c++, to++) {
        for (const [at, weight] of pairs) rows[to] += weight * data[row + at * channels + c];
      }
    }
  }
  const stride = width * channels, sums = new Float32Array(stride);
  for (let y = 0; y < height; y++) {
    sums.fill(0);
    for (const [at, weight] of down[y]) {
      for (let i = 0; i < stride; i++) sums[i] += weight * rows[at * stride + i];
    }
    result.set(sums, y * stride);
  }
  return { width, height, channels, data: result };
}

// The image with its longer side brought down to `side`, and the factor that leads back.
export function shrink(image, side) {
  const scale = Math.max(image.width, image.height) / side;
  if (scale <= 1) return [image, 1];
  const size = [image.width, image.height].map((length) => Math.max(Math.round(length / scale), 1));
  return [resize(image, ...size), scale];
}

// The square around a box, completed with the image's edge pixels, as one channel of luma (BT.601) or as three.
export function cut(image, place, channels) {
  const { width, height, data } = image, [w, h] = [place.width, place.height];
  const left = Math.round(place.x - w / 2), top = Math.round(place.y - h / 2);
  const result = new Uint8ClampedArray(w * h * channels);
  for (let y = 0, to = 0; y < h; y++) {
    const row = Math.min(Math.max(top + y, 0), height - 1) * width;
    for (let x = 0; x < w; x++) {
      const at = (row + Math.min(Math.max(left + x, 0), width - 1)) * image.channels;
      const [r, g, b] = [data[at], data[at + 1], data[at + 2]];
      if (channels === 1) result[to++] = (4899 * r + 9617 * g + 1868 * b + 8192) >> 14;
      else for (const value of [r, g, b]) result[to++] = value;
    }
  }
  return { width: w, height: h, channels, data: result };
}

export function mirrored({ width, height, channels, data }) {
  const result = new Uint8ClampedArray(data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [from, to] = [(y * width + width - 1 - x) * channels, (y * width + x) * channels];
      for (let c = 0; c < channels; c++) result[to + c] = data[from + c];
    }
  }
  return { width, height, channels, data: result };
}
