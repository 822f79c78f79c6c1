// The page: frames go out, two at a time at most, and each is shown when what was found in it comes back.

import { Camera } from "./camera.js";
import { analyzeVideo, Connection, PROMISE } from "./connection.js";
import { draw, largest } from "./drawing.js";
import { Cards, showVideo } from "./faces.js";

const MAX_UNDERWAY = 2;  // one is on its way while the other is analyzed; what does not fit is dropped
const RATE_SECONDS = 2;

const byId = (id) => document.getElementById(id);
const [canvas, settings, message] = ["canvas", "settings", "message"].map(byId);
const cards = new Cards(byId("faces"), byId("summary"));
const underway = new Map();  // number: {image, sent}
let model = null, picture = null, pictureFile = null, shown = null, number = 0, chosen = null, times = [], unsent = 0, doubtBelow = null;

const camera = new Camera(offer, (reason) => { showCameraState(); tell(reason, true); });
const connection = new Connection({
  hello(content) {
    model = content;
    byId("model").textContent = model.model;
    offerChoices();
    sendSettings();
    if (message.classList.contains("trouble") && !camera.running) tell("");
    if (picture) sendPicture();
  },
  scene(scene) {
    const sent = take(scene.frame);
    // a picture was chosen meanwhile, or taken away
    if (!sent || scene.still !== Boolean(picture)) return;
    if (scene.still || message.classList.contains("trouble")) tell("");
    shown = { ...scene, faces: scaled(scene.faces, sent.image.width / scene.width), image: sent.image };
    show(true);
    if (!scene.still) showRate(performance.now() - sent.sent, scene.dropped);
  },
  refused({ reason, frame }) {
    if (frame !== null) take(frame);
    tell(`The program refused a message: ${reason}.`, true);
  },
  lost(reason) {
    underway.clear();
    byId("rate").textContent = "";
    tell(reason, true);
  },
});

byId("promise").textContent = PROMISE;

function tell(text, trouble = false) {
  if (message.textContent !== text) message.textContent = text;
  message.classList.toggle("trouble", trouble);
}

// The frame of this number. Those before it were dropped: answers come in order.
function take(frame) {
  const sent = underway.get(frame);
  for (const earlier of underway.keys()) if (earlier <= frame) underway.delete(earlier);
  return sent;
}

// Faces in pixels of what is shown, which may be smaller than what was sent.
function scaled(faces, scale) {
  const activation = (map) => map && { ...map, x: map.x * scale, y: map.y * scale, width: map.width * scale, height: map.height * scale };
  return faces.map((face) => ({
    ...face, box: face.box.map((value) => value * scale), activation: activation(face.activation),
  }));
}

// ---- frames

function offer(video) {
  if (picture || !model || !connection.open) return;
  if (underway.size >= MAX_UNDERWAY) unsent += 1;
  else send(copy(video, video.videoWidth, video.videoHeight, model.longer_side.moving), false);
}

function copy(source, width, height, longest) {
  const scale = Math.min(1, longest / Math.max(width, height));
  const image = document.createElement("canvas");
  image.width = Math.max(1, Math.round(width * scale));
  image.height = Math.max(1, Math.round(height * scale));
  image.getContext("2d").drawImage(source, 0, 0, image.width, image.height);
  return image;
}

function send(image, still, file) {
  const mine = (number += 1);
  underway.set(mine, { image, sent: performance.now() });
  connection.frame(mine, image, still, file);
}

function show(isNew) {
  if (!shown) return;
  const threshold = doubtBelow ?? model.uncertain_below;
  let faces = shown.faces;
  if (settings.view.value === "single") {
    const face = largest(faces, chosen);
    chosen = face?.track;
    faces = face ? [face] : [];
  }
  draw(canvas, shown.image, faces, model, threshold);
  byId("hint").hidden = true;
  canvas.dataset.faces = faces.length;
  canvas.dataset.frames = Number(canvas.dataset.frames ?? 0) + Number(isNew);
  const words = cards.update(faces, model, threshold, performance.now() / 1000, shown.still, !isNew);
  canvas.setAttribute("aria-label", words);
}

function showRate(delay, dropped) {
  const now = performance.now() / 1000;
  times.push(now);
  while (times[0] < now - RATE_SECONDS) times.shift();
  if (times.length < 2) return;
  const rate = (times.length - 1) / (now - times[0]);
  byId("rate").textContent = `${rate.toFixed(0)} frames/s, delay ${delay.toFixed(0)} ms, ${unsent + dropped} dropped`;
}

// ---- camera and pictures

async function startCamera(deviceId) {
  try {
    tell("Waiting for the camera; the browser may ask whether it is allowed.");
    await camera.start(deviceId);
    await offerDevices();
    tell("");
  } catch (error) {
    tell(error.message, true);
  }
}

// A choice of cameras, where there is one.
async function offerDevices() {
  const devices = await camera.devices();
  byId("device").replaceChildren(
    ...devices.map(({ deviceId, label }, i) => new Option(label || `camera ${i + 1}`, deviceId)));
  byId("device").value = camera.deviceId;
  byId("devices").hidden = devices.length < 2;
}

async function toggleCamera() {
  if (camera.running && !picture) {
    camera.stop();
    times = [];
    byId("rate").textContent = "";
    tell("The camera is off.");
  } else {
    forgetPicture();
    if (camera.running) tell("");
    else await startCamera(byId("device").value);
  }
  showCameraState();
}

function showCameraState() {
  byId("camera").textContent = picture && camera.running ? "Back to the camera" :
    camera.running ? "Stop the camera" : "Start the camera";
}

async function takeVideo(file) {
  byId("video").replaceChildren();
  forgetPicture();
  showCameraState();
  tell(`Analyzing ${file.name}…`);
  try {
    showVideo(byId("video"), await analyzeVideo(file));
    tell("");
  } catch (error) {
    tell(error.message, true);
  }
}

async function takePicture(file) {
  if (file.type.startsWith("video/")) {
    await takeVideo(file);
    return;
  }
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    tell(`${file.name || "What was given"} is not a picture that this browser can read.`, true);
    return;
  }
  [picture, pictureFile] = [bitmap, file];
  byId("video").replaceChildren();
  cards.clear();
  shown = null;
  byId("rate").textContent = "";
  tell(`Looking at ${file.name || "the picture"}…`);
  showCameraState();
  sendPicture();
}

function sendPicture() {
  if (!model || !connection.open) return;
  send(copy(picture, picture.width, picture.height, model.longer_side.still), true, pictureFile);
}

function forgetPicture() {
  if (!picture) return;
  picture = shown = null;
  cards.clear();
  canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
  canvas.setAttribute("aria-label", "No picture yet");
  byId("hint").hidden = camera.running;
}

// ---- settings

function offerChoices() {
  const words = { haar: "Haar's cascade", yunet: "YuNet", none: "nothing: all is one face",
                  average: "average of 0.5 s", last10: "commonest of last 10" };
  const fill = (select, values, nothing) => {
    const before = select.value;
    select.replaceChildren(...values.map((value) => new Option(value === "none" ? nothing : words[value], value)));
    if (values.includes(before)) select.value = before;
  };
  fill(settings.detector, model.detectors, words.none);
  fill(settings.smoothing, model.smoothing, "none");
  if (doubtBelow === null) settings.threshold.value = 100 * model.uncertain_below;
  byId("percent").textContent = `${settings.threshold.value}%`;
  settings.explain.disabled = !model.has_maps;
  byId("no-maps").hidden = model.has_maps;
}

function sendSettings() {
  connection.settings({ detector: settings.detector.value, smoothing: settings.smoothing.value,
                        explain: settings.explain.checked });
}

settings.addEventListener("input", ({ target }) => {
  if (target.name === "threshold") {
    doubtBelow = target.valueAsNumber / 100;
    byId("percent").textContent = `${target.value}%`;
  }
  if (["view", "threshold"].includes(target.name)) {
    if (target.name === "view") cards.clear();
    show(false);
  } else {
    // the program begins anew, and numbers its faces from 1
    if (target.name !== "explain") cards.clear();
    sendSettings();
    if (picture) sendPicture();
  }
});
settings.addEventListener("submit", (event) => event.preventDefault());

byId("camera").addEventListener("click", toggleCamera);
byId("device").addEventListener("change", async ({ target }) => {
  if (!camera.running) return;
  camera.stop();
  cards.clear();
  await startCamera(target.value);
  showCameraState();
});
byId("choose").addEventListener("click", () => byId("file").click());
byId("file").addEventListener("change", ({ target }) => {
  if (target.files.length) takePicture(target.files[0]);
  target.value = "";
});
const screen = byId("screen");
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    screen.classList.add("dropping");
  });
}
for (const kind of ["dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    if (kind === "drop" || !event.relatedTarget) screen.classList.remove("dropping");
  });
}
document.addEventListener("drop", ({ dataTransfer }) => {
  if (dataTransfer.files.length) takePicture(dataTransfer.files[0]);
  else tell("That was no picture file. Save it first, or choose one.", true);
});
