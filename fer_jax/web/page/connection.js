// The WebSocket to the program: frames and settings there, what it sees back. Connects again when it is lost.

export const PROMISE = "Pictures are sent to the program on the machine that serves this page and are not stored.";

const JPEG_QUALITY = 0.85;
const VIDEO_FPS = 5;
const MOVING = 0, STILL = 1;
const FIRST_WAIT_MS = 500, MAX_WAIT_MS = 8000;
const TOO_BIG = 1009;  // RFC 6455

export class Connection {
  // `handlers`: hello(model), scene(scene), refused({reason, frame}), lost(reason)
  constructor(handlers) {
    this.handlers = handlers;
    this.wait = FIRST_WAIT_MS;
    this.sent = Promise.resolve();  // when the frame of the last call is on its way
    this.connect();
  }

  get open() {
    return this.socket.readyState === WebSocket.OPEN;
  }

  connect() {
    const token = location.hash.slice(1);  // never sent with the page's address
    this.socket = new WebSocket(new URL("socket", location.href.replace(/^http/, "ws").split("#")[0]), token || []);
    this.socket.onmessage = ({ data }) => {
      const [[kind, content]] = Object.entries(JSON.parse(data));
      if (kind === "hello") [this.wait, this.largest] = [FIRST_WAIT_MS, content.max_bytes];
      this.handlers[kind](content);
    };
    this.socket.onclose = ({ code }) => {
      this.handlers.lost(code === TOO_BIG ? "The program refused a picture that was too large." :
        "The program does not answer. Is it still running? Trying again…");
      setTimeout(() => this.connect(), this.wait);
      this.wait = Math.min(2 * this.wait, MAX_WAIT_MS);
    };
  }

  settings(values) {
    if (this.open) this.socket.send(JSON.stringify(values));
  }

  // Frames go in the order of their calls, though a file is read sooner than a canvas is encoded: of two that wait, the
  // program analyzes the later one.
  async frame(number, canvas, still, file = null) {
    const before = this.sent;
    let done;
    this.sent = new Promise((resolve) => { done = resolve; });
    try {
      const message = await this.encode(number, canvas, still, file);
      await before;
      if (this.open) this.socket.send(message);
    } finally {
      done();
    }
  }

  // A picture goes as the `file` it was where it is small enough: what a canvas makes of it is another picture.
  async encode(number, canvas, still, file) {
    const jpeg = file && file.size <= this.largest ? file : await new Promise((done) => canvas.toBlob(done, "image/jpeg", JPEG_QUALITY));
    const message = new Uint8Array(5 + jpeg.size);
    const view = new DataView(message.buffer);
    view.setUint8(0, still ? STILL : MOVING);
    view.setUint32(1, number);
    message.set(new Uint8Array(await jpeg.arrayBuffer()), 5);
    return message;
  }
}

// What happens in a video file: {summary, plot, table}. Throws an Error whose message can be shown.
export async function analyzeVideo(file) {
  const token = location.hash.slice(1), headers = token ? { Authorization: `Bearer ${token}` } : {};
  const body = new FormData();
  body.append("file", file);
  const answer = await fetch(`v1/analyze?fps=${VIDEO_FPS}&plot=true`, { method: "POST", body, headers });
  const { results, error } = await answer.json();
  if (error) throw new Error(error);
  return results[0];
}
