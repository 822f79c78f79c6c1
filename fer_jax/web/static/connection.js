// In place of the WebSocket to the program: a worker in this browser that answers in the same way.

export const PROMISE = "Pictures are analyzed in this browser. They are not sent anywhere and not stored.";

export class Connection {
  // `handlers`: hello(model), scene(scene), refused({reason, frame}), lost(reason)
  constructor(handlers) {
    this.open = true;
    this.worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data }) => {
      const [[kind, content]] = Object.entries(data);
      handlers[kind](content);
    };
    this.worker.onerror = () => handlers.lost("This browser cannot run the model. Use a current one.");
    navigator.serviceWorker?.register(new URL("offline.js", import.meta.url));
  }

  settings(values) {
    this.worker.postMessage({ settings: values });
  }

  frame(number, canvas, still) {
    const { width, height } = canvas, { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
    this.worker.postMessage({ number, still, image: { width, height, channels: 4, data } }, [data.buffer]);
  }
}

export async function analyzeVideo() {
  throw new Error("This page takes pictures and the camera. The program takes videos too: fer-jax analyze talk.mp4");
}
