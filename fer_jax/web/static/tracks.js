// Faces through time: which is which, and what each shows, as `fer_jax.serve.tracker` does it, without
// optical flow and without the faces that left.

export class Tracker {
  constructor(constants, smoothing) {
    [this.constants, this.smoothing] = [constants, smoothing];
    [this.tracks, this.last, this.time] = [[], 0, null];
  }

  // Take in the faces [{box, score}] of a frame; the tracks to show, each with `found`, the index of its face or -1.
  update(faces, time) {
    const { survives_seconds: survives, hits_to_show: hits } = this.constants;
    const elapsed = this.time === null ? 0 : time - this.time;
    const alone = this.time === null || elapsed > survives;
    this.time = time;
    for (const track of this.tracks) {
      track.box = track.box.map((value, i) => Math.max(value + track.speed[i] * elapsed, i < 2 ? -Infinity : 1));
      track.found = -1;
    }
    const pairs = this.tracks.flatMap((track) => faces.map((face, i) => [overlap(grow(track.box), grow(face.box)), track, i]));
    const taken = new Set();
    for (const [common, track, i] of pairs.sort((a, b) => b[0] - a[0])) {
      if (common < this.constants.min_overlap || track.found >= 0 || taken.has(i)) continue;
      taken.add(i);
      this.correct(track, faces[i], elapsed);
      [track.found, track.seen] = [i, time];
    }
    faces.forEach((face, i) => {
      if (taken.has(i)) return;
      const history = new History(this.constants, this.smoothing);
      this.tracks.push({ box: face.box, speed: [0, 0, 0, 0], hits: 1, found: i, seen: time, score: face.score, id: 0, history });
    });
    for (const track of this.tracks) {
      if (!track.id && (alone || track.hits >= hits)) [track.id, track.hits] = [this.last += 1, Math.max(track.hits, hits)];
    }
    this.tracks = this.tracks.filter((track) => time - track.seen <= (track.id ? survives : 0));
    return this.tracks.filter((track) => track.id);
  }

  // One step of the alpha-beta filter.
  correct(track, face, elapsed) {
    const n = track.hits += 1, { alpha, beta } = this.constants;
    const gains = [Math.max(alpha, 2 * (2 * n - 1) / (n * (n + 1))), Math.max(beta, 6 / (n * (n + 1)))];
    const residual = face.box.map((value, i) => value - track.box[i]);
    track.box = track.box.map((value, i) => value + gains[0] * residual[i]);
    if (elapsed > 0) track.speed = track.speed.map((value, i) => value + gains[1] / elapsed * residual[i]);
    track.score = Math.max(track.score, face.score);
  }
}

export class History {
  constructor(constants, method) {
    [this.constants, this.method] = [constants, method];
    [this.recent, this.label, this.since] = [[], -1, Infinity];
  }

  update(probabilities, time) {
    const { time_constant: constant, last_labels: last } = this.constants;
    const weight = this.probabilities && this.method !== "none" ? 1 - Math.exp((this.time - time) / constant) : 1;
    const before = this.probabilities ?? probabilities;
    this.probabilities = probabilities.map((value, i) => before[i] + weight * (value - before[i]));
    this.time = time;
    this.recent = [...this.recent, best(probabilities)].slice(-last);
    this.label = this.choose(time);
  }

  choose(time) {
    const leader = best(this.probabilities);
    if (this.method === "none") return leader;
    if (this.method === "last10") {
      const counts = this.probabilities.map((_, label) => this.recent.filter((one) => one === label).length);
      return this.label >= 0 && counts[this.label] === Math.max(...counts) ? this.label : best(counts);
    }
    const { margin, lasting_margin: small, lasting_seconds: lasting } = this.constants;
    const lead = this.label < 0 ? Infinity : this.probabilities[leader] - this.probabilities[this.label];
    this.since = lead > small ? Math.min(this.since, time) : Infinity;
    if (!(lead > margin || time - this.since >= lasting)) return this.label;
    this.since = Infinity;
    return leader;
  }
}

const best = (values) => values.indexOf(Math.max(...values));

const BUFFER = 0.3;
const grow = ([x, y, w, h]) => [x - BUFFER * w, y - BUFFER * h, w * (1 + 2 * BUFFER), h * (1 + 2 * BUFFER)];

// Intersection over union of two boxes.
export function overlap([ax, ay, aw, ah], [bx, by, bw, bh]) {
  const common = Math.max(0, Math.min(ax + aw, bx + bw) - Math.max(ax, bx)) *
                 Math.max(0, Math.min(ay + ah, by + bh) - Math.max(ay, by));
  return common / Math.max(aw * ah + bw * bh - common, 1e-9);
}
