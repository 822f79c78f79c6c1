// A card for each face: its name, a bar for every expression, and how they went.

import { colorOf, inkOn, nameOf, percent } from "./drawing.js";

const HISTORY_SECONDS = 20;
const GONE_SECONDS = 1;        // how long a card stays without its face
const REFRESH_SECONDS = 0.2;   // cards are read, not watched
const SAY_SECONDS = 3;         // the summary is read aloud: it must not interrupt itself

export class Cards {
  constructor(list, summary) {
    [this.list, this.summary] = [list, summary];
    this.clear();
  }

  clear() {
    this.cards = new Map();
    this.list.replaceChildren();
    this.refreshed = this.said = -Infinity;
    this.say("None yet.");
  }

  // Take in the faces of a frame at `now`, in seconds; a picture (`still`) has no history. `atOnce` is for what the user
  // just asked for. Returns the summary in words.
  update(faces, model, threshold, now, still, atOnce) {
    for (const face of faces) {
      const card = this.cards.get(face.track) ?? this.add(face.track, model);
      card.history.push({ now, label: face.label, probabilities: face.probabilities });
      while (card.history[0].now < now - HISTORY_SECONDS) card.history.shift();
      [card.face, card.seen] = [face, now];
      card.canvas.hidden = still;
    }
    const shown = new Set(faces.map((face) => face.track));
    for (const [track, card] of this.cards) {
      if (!shown.has(track) && now - card.seen >= GONE_SECONDS) {
        card.element.remove();
        this.cards.delete(track);
      }
    }
    const words = inWords(faces, model, threshold);
    if (still || atOnce || now - this.refreshed >= REFRESH_SECONDS) {
      this.refreshed = now;
      for (const card of this.cards.values()) refresh(card, model, threshold, now);
    }
    if (still || atOnce || now - this.said >= SAY_SECONDS) {
      this.said = now;
      this.say(words);
    }
    return words;
  }

  say(words) {
    if (this.summary.textContent !== words) this.summary.textContent = words;
  }

  add(track, model) {
    const element = make("li", "face");
    const heading = make("h3", "", element);
    const card = { element, name: make("span", "name", heading), rows: [], history: [] };
    make("span", "number", heading).textContent = `face ${track}`;
    const bars = make("dl", "bars", element);
    model.labels.forEach((name, i) => {
      const term = make("dt", "", bars);
      term.textContent = name;
      const bar = make("div", "bar", make("dd", "", bars));
      bar.setAttribute("aria-hidden", "true");
      const fill = make("div", "", bar);
      fill.style.backgroundColor = model.colors[i];
      card.rows.push({ term, fill, share: make("dd", "share", bars) });
    });
    card.canvas = make("canvas", "history", element);
    card.canvas.setAttribute("role", "img");
    this.list.append(element);
    this.cards.set(track, card);
    return card;
  }
}

function inWords(faces, model, threshold) {
  if (!faces.length) return "No face.";
  const names = faces.map((face) => {
    const name = nameOf(face, model, threshold);
    return name === "?" ? "perhaps no face" : name.replace(/ \d+%$/, "").replace(/(.*)\?$/, "perhaps $1");
  });
  return `${faces.length === 1 ? "1 face" : `${faces.length} faces`}: ${names.join(", ")}.`;
}

function refresh(card, model, threshold, now) {
  const { face, name, rows } = card;
  name.textContent = nameOf(face, model, threshold);
  const color = colorOf(face, model, threshold);
  name.style.backgroundColor = color;
  name.style.color = inkOn(color);
  rows.forEach(({ term, fill, share }, i) => {
    fill.style.width = share.textContent = percent(face.probabilities[i]);
    for (const part of [term, share]) part.classList.toggle("shown", i === face.label);
  });
  if (!card.canvas.hidden) plot(card, model, now);
}

// One line an expression over the last seconds, now at the right edge; the shown one's is the thickest.
function plot({ canvas, history, face }, model, now) {
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth * scale, canvas.clientHeight * scale];
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  const x = (sample) => width * (1 - (now - sample.now) / HISTORY_SECONDS);
  const y = (share) => height - 3 * scale - (height - 6 * scale) * share;
  context.lineJoin = "round";
  const order = model.labels.map((_, i) => i).sort((a, b) => (a === face.label) - (b === face.label));
  for (const i of order) {
    context.strokeStyle = model.colors[i];
    context.lineWidth = (i === face.label ? 2.5 : 1) * scale;
    context.beginPath();
    history.forEach((sample, at) => {
      context[at ? "lineTo" : "moveTo"](x(sample), y(sample.probabilities[i]));
    });
    context.stroke();
  }
  const names = history.map((sample) => model.labels[sample.label]);
  const turns = names.filter((label, i) => label !== names[i - 1]);
  canvas.setAttribute("aria-label", `Last ${HISTORY_SECONDS} seconds: ${turns.slice(-5).join(", then ")}`);
}

// What happened in a video: a band for each person over time, and the table that the program prints.
export function showVideo(place, { summary, plot, table }) {
  const box = make("div", "wide"), image = make("img", "band", box), element = make("table", "", box);
  image.src = `data:image/svg+xml,${encodeURIComponent(plot)}`;
  image.alt = summary.people.map((person) => `face ${person.track}: mostly ${person.dominant}`).join(", ") || "No face";
  table.forEach((cells, i) => {
    const line = make("tr", "", element);
    for (const cell of cells) make(i ? "td" : "th", "", line).textContent = cell;
  });
  place.replaceChildren(box);
}

function make(tag, name, parent) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  parent?.append(element);
  return element;
}
