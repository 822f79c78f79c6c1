// The camera, and why there is none, in words.

const SIZE = { width: { ideal: 640 }, height: { ideal: 480 } };

export class Camera {
  constructor(onFrame, onEnd) {
    [this.onFrame, this.onEnd] = [onFrame, onEnd];
    this.video = document.createElement("video");
    this.video.muted = this.video.playsInline = true;
  }

  get running() {
    return Boolean(this.video.srcObject);
  }

  // Opens the camera with this identifier, or the browser's choice, the one in front of the user if there are two.
  // Throws an Error whose message can be shown.
  async start(deviceId = "") {
    const which = deviceId ? { deviceId: { exact: deviceId } } : { facingMode: "user" };
    if (!navigator.mediaDevices) {
      throw new Error("Browsers give a page the camera only at localhost or over https. " +
                      "Open the page on the machine that serves it, or choose a picture.");
    }
    try {
      this.video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { ...SIZE, ...which } });
      await this.video.play();
    } catch (error) {
      this.stop();
      throw new Error(why(error));
    }
    this.video.srcObject.getVideoTracks()[0].onended = () => {
      this.stop();
      this.onEnd("The camera is gone. Connect it again and start it, or choose a picture.");
    };
    this.next();
  }

  // The cameras there are: [{deviceId, label}]. Their labels are known once one was allowed.
  async devices() {
    const all = await navigator.mediaDevices.enumerateDevices();
    return all.filter(({ kind }) => kind === "videoinput");
  }

  // The identifier of the running camera.
  get deviceId() {
    return this.video.srcObject?.getVideoTracks()[0].getSettings().deviceId ?? "";
  }

  stop() {
    for (const track of this.video.srcObject?.getTracks() ?? []) track.stop();
    this.video.srcObject = null;
  }

  next() {
    const frame = () => {
      if (!this.running) return;
      this.onFrame(this.video);
      this.next();
    };
    if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(frame);
    else requestAnimationFrame(frame);
  }
}

function why({ name, message }) {
  switch (name) {
    case "NotAllowedError": case "SecurityError":
      return "The camera is not allowed. Allow it for this page in the browser's address bar or settings and start " +
             "it again, or choose a picture.";
    case "NotFoundError": case "OverconstrainedError":
      return "There is no camera. Connect one and start it again, or choose a picture.";
    case "NotReadableError": case "AbortError":
      return "The camera does not start. Another program may be using it: close that and start it again, or choose a " +
             "picture.";
    default:
      return `The camera does not start (${message || name}). Choose a picture instead.`;
  }
}
