// Analyzes frames beside the page, so that it stays responsive.

import { Engine } from "./engine.js";

let settings = null, engine = null;

// what comes before the model is loaded waits in the browser's queue
const waiting = Engine.load().then((loaded) => {
  engine = loaded;
  settings = { detector: engine.model.detectors[0], smoothing: engine.model.smoothing[0], explain: false };
  postMessage({ hello: engine.model });
}, (error) => postMessage({ lost: `The model cannot be loaded (${error.message}). Open the page again.` }));

let turn = waiting;  // one frame after the other

self.onmessage = ({ data }) => {
  turn = turn.then(async () => {
    if (data.settings) {
      settings = data.settings;
      return;
    }
    const { number, still, image } = data;
    try {
      postMessage({ scene: { ...await engine.scene(image, performance.now() / 1000, still, settings), frame: number } });
    } catch (error) {
      postMessage({ refused: { reason: error.message, frame: number } });
    }
  });
};
