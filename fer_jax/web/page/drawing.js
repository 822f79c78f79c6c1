// What is drawn over a frame: boxes, names, and the tint of the evidence for them.

const FOR = [178, 24, 43], AGAINST = [33, 102, 172], OPACITY = 0.65;  // as fer_jax.serve.overlay
const FONT = "600 16px system-ui, sans-serif";

// Black or white, whichever is easier to read on a color "#rrggbb".
export function inkOn(color) {
  const [r, g, b] = [1, 3, 5].map((i) => (parseInt(color.slice(i, i + 2), 16) / 255) ** 2.2);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.18 ? "#000000" : "#ffffff";
}

// A share, 0..1, as `fer_jax.serve.overlay.percent` writes it.
export function percent(share) {
  return `${Math.floor(100 * share + 0.5 + 1e-9)}%`;
}

const GRAY = "#c8c8c8";

// Below the threshold the name, as likely as this is a face at all, gets a question mark.
function isUncertain(face, threshold) {
  return face.score * Math.max(...face.probabilities) < threshold;
}

// What is hardly a face has no name.
function isDoubtful(face, model, threshold) {
  return face.score < model.doubtful_score && isUncertain(face, threshold);
}

export function nameOf(face, model, threshold) {
  if (isDoubtful(face, model, threshold)) return "?";
  const share = percent(face.probabilities[face.label]);
  return `${model.labels[face.label]}${isUncertain(face, threshold) ? "?" : ""} ${share}`;
}

export function colorOf(face, model, threshold) {
  return isDoubtful(face, model, threshold) ? GRAY : model.colors[face.label];
}

// The largest face; two of nearly the same size do not take turns.
export function largest(faces, before) {
  const area = (face) => face.box[2] * face.box[3];
  const best = faces.reduce((a, b) => (a && area(a) >= area(b) ? a : b), undefined);
  const kept = faces.find((face) => face.track === before);
  return kept && area(kept) >= 0.8 * area(best) ? kept : best;
}

export function draw(canvas, image, faces, model, threshold) {
  canvas.width = image.width;
  canvas.height = image.height;
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const unit = Math.max(Math.min(image.width, image.height) / 480, 0.5);
  for (const face of faces) if (face.activation) tint(context, face.activation);
  for (const face of faces) box(context, face, colorOf(face, model, threshold), unit);
  const taken = [];
  for (const face of faces) {
    label(context, face, faces, taken, nameOf(face, model, threshold), colorOf(face, model, threshold), unit);
  }
}

function tint(context, map) {
  const cells = new ImageData(map.columns, map.rows);
  map.values.forEach((percent, i) => {
    cells.data.set([...(percent > 0 ? FOR : AGAINST), Math.round(2.55 * OPACITY * Math.abs(percent))], 4 * i);
  });
  const small = document.createElement("canvas");
  [small.width, small.height] = [map.columns, map.rows];
  small.getContext("2d").putImageData(cells, 0, 0);
  context.save();
  context.translate(map.x, map.y);
  context.rotate(map.roll * Math.PI / 180);
  context.imageSmoothingQuality = "high";
  context.drawImage(small, -map.width / 2, -map.height / 2, map.width, map.height);
  context.restore();
}

// With a dark rim, to be seen on any ground; only the corners of a face that was followed without being found.
function box(context, face, color, unit) {
  const [x, y, w, h] = face.box, length = Math.min(w, h) / 4;
  context.beginPath();
  if (face.found) {
    context.rect(x, y, w, h);
  } else {
    for (const [cx, cy, dx, dy] of [[x, y, 1, 1], [x + w, y, -1, 1], [x, y + h, 1, -1], [x + w, y + h, -1, -1]]) {
      context.moveTo(cx + dx * length, cy);
      context.lineTo(cx, cy);
      context.lineTo(cx, cy + dy * length);
    }
  }
  for (const [ink, width] of [["#000000", 4], [color, 2]]) {
    context.strokeStyle = ink;
    context.lineWidth = width * unit;
    context.stroke();
  }
}

// At the first place around its box that covers no other name or face, within the picture.
function label(context, face, faces, taken, text, color, unit) {
  context.font = FONT.replace("16px", `${16 * unit}px`);
  const [x, y, w, h] = face.box, width = context.measureText(text).width + 10 * unit, height = 24 * unit;
  const { width: right, height: bottom } = context.canvas;
  const places = [[x, y - height], [x + w - width, y - height], [x, y + h], [x + w - width, y + h], [x, y]].map(
    ([left, top]) => [Math.max(0, Math.min(left, right - width)), Math.max(0, Math.min(top, bottom - height)),
                      width, height]);
  const others = faces.filter((other) => other !== face).map((other) => other.box).concat(taken);
  const covered = places.map((place) => others.reduce((sum, other) => sum + common(place, other), 0));
  const place = places[covered.indexOf(Math.min(...covered))];
  taken.push(place);
  context.fillStyle = color;
  context.fillRect(...place);
  context.fillStyle = inkOn(color);
  context.textBaseline = "middle";
  context.fillText(text, place[0] + 5 * unit, place[1] + height / 2);
}

function common([ax, ay, aw, ah], [bx, by, bw, bh]) {
  return Math.max(0, Math.min(ax + aw, bx + bw) - Math.max(ax, bx)) *
         Math.max(0, Math.min(ay + ah, by + bh) - Math.max(ay, by));
}
