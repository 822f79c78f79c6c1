// Pixels as OpenCV treats them in the program: `fer_jax.preprocess.images` and `fer_jax.faces.cropping`.
// An image is {width, height, channels, data}, rows of interleaved bytes.

// What makes `to` places of `from` places: for the i-th, `count` sources from first[i] on and their weights.
function taps(from, to, kind) {
  const scale = from / to, count = kind === "area" && scale >= 1 ? Math.ceil(scale) + 1 : 2;
  const first = new Int32Array(to), weights = new Float32Array(to * count);
  for (let i = 0; i < to; i++) {
    if (kind === "area" && scale >= 1) {
      const [start, end] = [i * scale, Math.min((i + 1) * scale, from)];
      first[i] = Math.max(Math.min(Math.floor(start), from - count), 0);
      for (let k = 0; k < count; k++) {
        const at = first[i] + k;
        weights[i * count + k] = Math.max(Math.min(at + 1, end) - Math.max(at, start), 0) / (end - start);
      }
      continue;
    }
    // OpenCV's INTER_AREA enlarges so that whole pixels keep their values
    const middle = (i + 0.5) * scale - 0.5, at = kind === "area" ? Math.floor(i * scale) : Math.floor(middle);
    const part = kind === "area" ? Math.max(0, i + 1 - (at + 1) / scale) % 1 : middle - at;
    first[i] = Math.min(Math.max(at, 0), Math.max(from - 2, 0));
    for (const [place, weight] of [[at, 1 - part], [at + 1, part]]) {
      weights[i * count + Math.min(Math.max(place, 0), from - 1) - first[i]] += weight;
    }
  }
  return { first, weights, count };
}

// Columns come first, a row of bytes at a time: then only the rows that stay are resized.
export function resize(image, width, height, kind = "area") {
  if (image.width === width && image.height === height) return image;
  if (kind === "area" && image.width === 2 * width && image.height === 2 * height) return halved(image);
  const { channels, data } = image, across = taps(image.width, width, kind), down = taps(image.height, height, kind);
  const from = image.width * channels, row = new Float32Array(from);
  const result = new Uint8ClampedArray(height * width * channels);
  for (let y = 0, to = 0; y < height; y++) {
    row.fill(0);
    for (let k = 0; k < down.count; k++) {
      const weight = down.weights[y * down.count + k], start = (down.first[y] + k) * from;
      if (weight) for (let i = 0; i < from; i++) row[i] += weight * data[start + i];
    }
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < channels; c++, to++) {
        let sum = 0;
        for (let k = 0, at = across.first[x] * channels + c; k < across.count; k++, at += channels) {
          sum += across.weights[x * across.count + k] * row[at];
        }
        result[to] = sum;
      }
    }
  }
  return { width, height, channels, data: result };
}

// What `resize` makes of a camera's frames, in a tenth of the time.
function halved(image) {
  const { channels, data } = image, [width, height] = [image.width / 2, image.height / 2], row = image.width * channels;
  const result = new Uint8ClampedArray(width * height * channels);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0, at = 2 * y * row; x < width; x++, at += channels) {
      for (let c = 0; c < channels; c++, at++, to++) {
        result[to] = (data[at] + data[at + channels] + data[at + row] + data[at + row + channels] + 2) >> 2;
      }
    }
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
