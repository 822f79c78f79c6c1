// From a frame's pixels to the expressions of its faces, in the browser: YuNet and a bundle's network in ONNX Runtime.

import * as ort from "./ort.js";
import { cut, mirrored, resize, shrink } from "./pixels.js";
import { History, overlap, Tracker } from "./tracks.js";

const STRIDES = [8, 16, 32];  // of YuNet's three maps

export class Engine {
  // Load what lies beside this file.
  static async load() {
    ort.env.wasm.wasmPaths = { wasm: new URL("ort.wasm", import.meta.url).href };
    ort.env.wasm.numThreads = 1;  // two take twice the CPU a frame beside other work
    const model = await (await fetch(new URL("model.json", import.meta.url))).json();
    const [network, detector] = await Promise.all(["model.onnx", "yunet.onnx"].map(
      (file) => ort.InferenceSession.create(new URL(file, import.meta.url).href, { executionProviders: ["wasm"], logSeverityLevel: 3 })));
    return new Engine(model, network, detector);
  }

  constructor(model, network, detector) {
    [this.model, this.network, this.detector] = [model, network, detector];
    this.as = "";
  }

  // The scene of an image {width, height, channels: 4, data}; a `still` has nothing to do with what came before.
  async scene(image, time, still, settings) {
    const { constants } = this.model, as = `${settings.smoothing} ${settings.detector} ${image.width} ${image.height}`;
    if (!still && as !== this.as) [this.tracker, this.as] = [new Tracker(constants, settings.smoothing), as];
    const whole = settings.detector === "none";
    const faces = whole ? [{ box: [0, 0, image.width, image.height], score: 1 }] : await this.search(image, still);
    const shown = still ? this.untracked(faces, settings) : this.tracker.update(faces, time);
    const found = shown.filter((track) => track.found >= 0);
    const places = found.map(({ box }) => whole ? whole_of(image) : this.place(box));
    const outputs = await this.classify(places.map((place) => cut(image, place, this.model.input.channels)), still);
    found.forEach(({ history }, i) => history.update(outputs[i].probabilities, time));
    return {
      still, width: image.width, height: image.height, dropped: 0,
      faces: shown.map((track) => {
        const i = found.indexOf(track), { id, box, score, history } = track;
        const activation = i >= 0 && settings.explain ? this.activation(outputs[i], history.label, places[i]) : null;
        return { track: id, box, found: i >= 0, score, label: history.label, probabilities: history.probabilities, activation };
      }),
    };
  }

  untracked(faces, { smoothing }) {
    return faces.map((face, i) => ({ ...face, id: i + 1, found: i, history: new History(this.model.constants, smoothing) }));
  }

  // The faces [{box, score}] that YuNet finds, from left to right.
  async search(image, still) {
    const { constants } = this.model;
    const [small, scale] = shrink(image, still ? constants.still_side : constants.moving_side);
    const width = 32 * Math.ceil(Math.max(small.width, 64) / 32), height = 32 * Math.ceil(Math.max(small.height, 64) / 32);
    const planes = new Float32Array(3 * width * height);  // blue, green, red
    for (let y = 0; y < small.height; y++) {
      for (let x = 0; x < small.width; x++) {
        const from = (y * small.width + x) * 4, to = y * width + x;
        for (let c = 0; c < 3; c++) planes[c * width * height + to] = small.data[from + 2 - c];
      }
    }
    const maps = await this.detector.run({ input: new ort.Tensor("float32", planes, [1, 3, height, width]) });
    const boxes = STRIDES.flatMap((stride) => this.boxes(maps, stride, width / stride));
    const kept = [];
    for (const box of boxes.sort((a, b) => b.raw - a.raw)) {
      if (kept.every((other) => overlap(box.box, other.box) <= constants.max_overlap)) kept.push(box);
    }
    return kept.filter(({ box: [x, y, w, h] }) => {
      const [across, down] = [x + w / 2, y + h / 2];
      return across >= 0 && down >= 0 && across <= small.width && down <= small.height;
    }).map(({ box, raw }) => ({
      box: box.map((value) => value * scale),
      score: Math.min(0.5 + 0.5 * (raw - constants.min_score) / (constants.sure_score - constants.min_score), 1),
    })).sort((a, b) => a.box[0] - b.box[0]);
  }

  boxes(maps, stride, columns) {
    const [likely, face, places] = ["cls", "obj", "bbox"].map((name) => maps[`${name}_${stride}`].data), found = [];
    const clamp = (value) => Math.min(Math.max(value, 0), 1);
    for (let i = 0; i < likely.length; i++) {
      const raw = Math.sqrt(clamp(likely[i]) * clamp(face[i]));
      if (raw < this.model.constants.min_score) continue;
      const [dx, dy, w, h] = places.subarray(4 * i, 4 * i + 4), size = [Math.exp(w) * stride, Math.exp(h) * stride];
      const [x, y] = [(i % columns + dx) * stride, (Math.floor(i / columns) + dy) * stride];
      found.push({ raw, box: [x - size[0] / 2, y - size[1] / 2, ...size] });
    }
    return found;
  }

  // The square that the network gets of a box.
  place([x, y, w, h]) {
    const { enlarge, offset } = this.model.crop, larger = Math.max(w, h), side = Math.max(Math.round(larger * enlarge), 1);
    return { x: x + w / 2 + offset[0] * larger, y: y + h / 2 + offset[1] * larger, width: side, height: side };
  }

  // {probabilities, map} of each crop; those of pictures are averaged with their mirror images'.
  async classify(crops, still) {
    if (!crops.length) return [];
    const { size, channels, resize: kind } = this.model.input, count = crops.length;
    const fitted = crops.map((crop) => resize(crop, size, size, kind));
    const batch = still ? [...fitted, ...fitted.map(mirrored)] : fitted;
    const pixels = new Uint8Array(batch.length * size * size * channels);
    batch.forEach(({ data }, i) => pixels.set(data, i * data.length));
    const input = new ort.Tensor("uint8", pixels, [batch.length, size, size, channels]);
    const { logits, class_maps: maps } = await this.network.run({ [this.network.inputNames[0]]: input });
    const classes = logits.dims[1];
    return crops.map((_, i) => {
      const of = (row) => [...logits.data.subarray(row * classes, (row + 1) * classes)];
      const mean = still ? of(i).map((value, j) => (value + of(count + i)[j]) / 2) : of(i);
      return { probabilities: this.softmax(mean), map: maps && { dims: maps.dims, data: maps.data, row: i } };
    });
  }

  softmax(logits) {
    const scaled = logits.map((value, i) => value / this.model.temperature + this.model.shift[i]);
    const largest = Math.max(...scaled), exponentials = scaled.map((value) => Math.exp(value - largest));
    const sum = exponentials.reduce((a, b) => a + b);
    return exponentials.map((value) => value / sum);
  }

  // The evidence for a label, as `fer_jax.serve.analysis.Activation` in per cent.
  activation({ map }, label, place) {
    if (!map) return null;
    const [, rows, columns, classes] = map.dims, values = [];
    for (let i = 0; i < rows * columns; i++) {
      const cell = map.data.subarray((map.row * rows * columns + i) * classes).subarray(0, classes);
      values.push(cell[label] - cell.reduce((a, b) => a + b) / classes);
    }
    const largest = Math.max(...values.map(Math.abs)) || 1, { size, seen } = this.model.input, factor = (seen ?? size) / size;
    return { rows, columns, values: values.map((value) => Math.round(100 * value / largest)), roll: 0,
             x: place.x, y: place.y, width: place.width * factor, height: place.height * factor };
  }
}

const whole_of = ({ width, height }) => ({ x: width / 2, y: height / 2, width, height });
