/** The camera: opened, read frame by frame, closed. */

import { Fault } from "./fault.ts";
import type { Word } from "./strings.ts";

/** Whether browsers allow pages at this address to use a camera. */
export const HAS_CAMERA = (navigator.mediaDevices as MediaDevices | undefined) !== undefined;

const REASONS: Record<string, Word> = {
  NotAllowedError: "denied",
  NotFoundError: "noDevice",
  NotReadableError: "inUse",
};

export type Facing = "user" | "environment";

/** A picture of the camera; a `VideoFrame`, if the browser has them, is not copied until it is in the worker. */
export type Frame = VideoFrame | ImageBitmap;

export class Webcam {
  private stream: MediaStream | null = null;

  constructor(private readonly video: HTMLVideoElement) {}

  get open(): boolean {
    return this.stream !== null;
  }

  /** Opens the camera; with two, the one at the front or the back. */
  async start(facingMode: Facing): Promise<void> {
    this.stop();
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({
        video: { width: { ideal: 640 }, height: { ideal: 480 }, facingMode },
      });
      this.video.srcObject = this.stream;
      await this.video.play();
    } catch (error) {
      this.stop(); // a camera without a picture must not stay on
      const { name, message } = error as Error;
      throw new Fault(REASONS[name] ?? "cameraFails", { reason: message });
    }
  }

  /** Whether there is another camera. */
  async canTurn(): Promise<boolean> {
    const devices = await navigator.mediaDevices.enumerateDevices();
    return devices.filter(({ kind }) => kind === "videoinput").length > 1;
  }

  /** People expect to see themselves as in a mirror; the camera at a phone's back isn't mirrored. */
  get mirrored(): boolean {
    return this.stream?.getVideoTracks()[0]?.getSettings().facingMode !== "environment";
  }

  /** Processes pictures one after another until it is closed; those that arrive meanwhile are dropped. */
  each(work: (frame: Frame, rate: number) => Promise<void>): Promise<void> {
    const lost = new Promise<never>((_, reject) => {
      this.stream!.getVideoTracks()[0]!.addEventListener("ended", () => reject(new Fault("lost")));
    });
    return Promise.race([lost, this.run(this.stream!, work)]);
  }

  /** Runs as long as this stream is open: the next one has its own loop. */
  private async run(stream: MediaStream, work: (frame: Frame, rate: number) => Promise<void>): Promise<void> {
    let shown = 0, since = performance.now(), rate = 0, next = this.next();
    while (this.stream === stream) {
      await next;
      if (this.stream !== stream) return;
      next = this.next();
      if (document.hidden) continue;
      await work("VideoFrame" in self ? new VideoFrame(this.video) : await createImageBitmap(this.video), rate);
      shown++;
      const elapsed = performance.now() - since;
      if (elapsed > 1000) {
        rate = (1000 * shown) / elapsed;
        [shown, since] = [0, performance.now()];
      }
    }
  }

  /** Waits for a new picture. */
  private next(): Promise<void> {
    return new Promise((resolve) => {
      if ("requestVideoFrameCallback" in this.video) this.video.requestVideoFrameCallback(() => resolve());
      else requestAnimationFrame(() => resolve());
    });
  }

  /** The current picture as a file. */
  async photo(): Promise<File> {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [this.video.videoWidth, this.video.videoHeight];
    canvas.getContext("2d")!.drawImage(this.video, 0, 0);
    const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/png"));
    if (!blob) throw new Fault("noPicture");
    return new File([blob], "camera.png", { type: "image/png" });
  }

  stop(): void {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = this.video.srcObject = null;
  }
}
