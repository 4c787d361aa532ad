/** The page: a photo or the webcam goes in, pictures and numbers come out. */

import { ask, Refused, type Listing, type ModelInfo } from "./api.ts";
import { Webcam, whyNoWebcam } from "./camera.ts";
import { showCard } from "./card.ts";
import { at, chosen, draw, megabytes, recall, remember, save } from "./dom.ts";
import { Engine } from "./engine.ts";
import { onPhoto } from "./files.ts";
import { keep, register } from "./offline.ts";
import { inWords, showResult, totalMs } from "./result.ts";
import type { Found, Loaded } from "./worker.ts";

declare const SAMPLE: string; // set by the build

const MAX_PIXELS = 16_000_000; // more than this an iPhone's canvas doesn't hold
const status = at("status"), error = at("error"), progress = at<HTMLProgressElement>("progress");
const segmentButton = at<HTMLButtonElement>("segment"), modelChoice = at<HTMLSelectElement>("model");
const photo = at<HTMLImageElement>("photo"), video = at<HTMLVideoElement>("video"), cutout = at<HTMLImageElement>("cutout");
const overlay = at<HTMLCanvasElement>("overlay"), mask = at<HTMLCanvasElement>("mask");
const webcam = new Webcam(video);
const engine = new Engine((done, total) => {
  progress.hidden = done === total;
  progress.value = done / total;
  const text = done === total ? "Preparing the model…" : `Loading the model's engine, ${megabytes(total)}…`;
  if (status.textContent !== text) say(text); // screen readers read each change out
});

// A plus sign in an address is a space to URLSearchParams alone.
let token = new URLSearchParams(location.hash.slice(1).replaceAll("+", "%2B")).get("token") ?? recall("token");
let listing: Listing | null = null;
let loading: Promise<Loaded> | null = null;
let current: { file: File; found: Found | null } | null = null;
let busy = 0; // how many things are being done
const missing = whyNoWebcam();

const model = (): ModelInfo => listing!.models[modelChoice.selectedIndex]!;
const onServer = (): boolean => chosen("where") === "server";

function say(text: string): void {
  status.textContent = text;
}

/** Shows why something failed; a missing token is asked for. */
function complain(reason: unknown): void {
  progress.hidden = true;
  say("");
  error.textContent = reason instanceof Error ? reason.message : String(reason);
  if (reason instanceof Refused && reason.status === 401) {
    at("token-form").hidden = false;
    at("token").focus();
  }
}

/** Does something for the user, and tells when it failed. */
async function attempt(work: () => Promise<void>): Promise<void> {
  const focused = document.activeElement;
  error.textContent = "";
  busy++;
  refresh();
  try {
    await work();
  } catch (reason) {
    complain(reason);
  } finally {
    busy--;
    refresh();
    // Who uses keys must not be thrown back to the page's start, because a button was disabled or has gone meanwhile.
    if (document.activeElement === document.body && focused instanceof HTMLElement && focused !== document.body) {
      const usable = focused.offsetParent !== null && !focused.matches(":disabled");
      const next = usable ? focused : webcam.open ? at("shoot") : segmentButton;
      next.focus({ preventScroll: true });
    }
  }
}

/** What can be done now. */
function refresh(): void {
  const live = webcam.open, there = current !== null;
  segmentButton.hidden = live;
  at("live-buttons").hidden = !live;
  segmentButton.disabled = busy > 0 || !there || listing === null;
  at("drop").hidden = there || live;
  at("pictures").hidden = !there && !live;
  photo.hidden = live;
  video.hidden = !live;
  at("photo-title").textContent = live ? "Webcam" : "Photo";
  at("pictures").classList.toggle("mirrored", live && webcam.mirrored);
  at("answer").hidden = !live && !current?.found;
  at("views").hidden = live;
  at("mask-title").hidden = !live;
  at<HTMLButtonElement>("webcam").disabled = live || busy > 0 || missing !== "";
  at("downloads").hidden = live || !current?.found;
  at<HTMLButtonElement>("save-cutout").disabled = at<HTMLButtonElement>("save-labels").disabled = busy > 0 || !current?.found;
  const asks = at("where").hidden ? false : onServer();
  at("privacy").classList.toggle("sends", asks);
  at("privacy").textContent = asks
    ? "Your photo is sent to this server, which keeps nothing."
    : "Nothing is uploaded: your photo stays in this browser.";
}

async function prepare(): Promise<Loaded> {
  say("Loading the model…");
  const info = model();
  const mine = (loading = engine.load({ model: info, token }));
  mine.catch(() => {
    if (loading === mine) loading = null; // so that the next photo tries again
  });
  const loaded = await mine;
  if (loading !== mine) return loaded; // another model was chosen meanwhile
  progress.hidden = true;
  say(current ? "Ready." : "Ready. Choose a photo.");
  void keep([info.url, ...loaded.files], token);
  return loaded;
}

async function listModels(): Promise<void> {
  const response = await ask("/v1/models", token);
  listing = (await response.json()) as Listing;
  at("token-form").hidden = true;
  if (token) remember("token", token);
  modelChoice.replaceChildren(...listing.models.map(({ name, bytes }) => new Option(`${name} (${megabytes(bytes)})`, name)));
  at("model-field").hidden = listing.models.length < 2;
  at("where").hidden = !listing.on_server;
  showCard(at("card-text"), model());
}

function clear(): void {
  at("result").hidden = true;
  cutout.hidden = true;
  mask.hidden = false;
  document.querySelector<HTMLInputElement>('input[name="view"]')!.checked = true;
  URL.revokeObjectURL(cutout.src);
  overlay.width = overlay.width;
}

async function take(file: File): Promise<void> {
  stopWebcam();
  if (file.size === 0) throw new Error(`${file.name} is empty.`);
  clear();
  URL.revokeObjectURL(photo.src);
  const url = (photo.src = URL.createObjectURL(file));
  photo.alt = file.name === "sample.jpg" ? "Portrait of Grace Hopper in uniform" : `The photo ${file.name}`;
  try {
    await photo.decode();
  } catch {
    if (photo.src !== url) return; // another photo came meanwhile
    current = null;
    const heic = /\.(heic|heif)$/i.test(file.name);
    throw new Error(
      `${file.name} is no picture that this browser can show; ` +
      (heic ? "export it as JPEG (phones take JPEG with Camera > Formats > 'Most Compatible')." : "export it as JPEG or PNG."),
    );
  }
  if (photo.src !== url) return;
  current = { file, found: null };
  say(`${file.name}: press Segment.`);
}

function threadsInWords({ threads }: Loaded): string {
  if (threads === 0) return "Computed by the server.";
  if (threads > 1) return `${threads} threads, in WebAssembly.`;
  if (self.crossOriginIsolated) return "One thread, in WebAssembly: this browser gives it no more.";
  return "One thread: browsers allow more only where the address is https or localhost.";
}

/** Whether the server would take the photo; asked before it is sent for nothing. */
function checkLimits({ size }: File): void {
  const { bytes, pixels } = listing!.limits;
  if (size > bytes) {
    throw new Error(`The photo has ${megabytes(size)}, and the server takes ${megabytes(bytes)}; segment it in this browser.`);
  }
  if (photo.naturalWidth * photo.naturalHeight > pixels) {
    throw new Error(
      `The photo has ${photo.naturalWidth}×${photo.naturalHeight} pixels, and the server takes ${pixels / 1e6} megapixels; ` +
      "segment it in this browser.",
    );
  }
}

function show(found: Found, loaded: Loaded, rate = ""): void {
  showResult(found, model(), `${rate}${threadsInWords(loaded)}`);
  draw(overlay, found.overlay);
  draw(mask, found.mask);
  mask.setAttribute("aria-label", `Mask: ${inWords(found, model())}`);
}

/** Gives the memory of pictures back that nobody will see. */
function drop(found: Found): void {
  found.overlay.close();
  found.mask.close();
}

async function segment(): Promise<void> {
  const asked = current, info = model(), upload = onServer();
  if (!asked) return;
  if (upload) checkLimits(asked.file);
  const loaded = upload ? { threads: 0, files: [] } : await (loading ?? prepare());
  say("Segmenting…");
  const found = upload
    ? await engine.upload({ photo: asked.file, model: info, token })
    : await engine.segment(asked.file, MAX_PIXELS);
  if (current !== asked || model() !== info) return drop(found); // another photo or model was chosen meanwhile
  clear();
  asked.found = found;
  show(found, loaded);
  const scaled = found.original ? ` The photo was scaled down from ${found.original.join("×")}.` : "";
  say(`Done in ${totalMs(found).toFixed(0)} ms: ${inWords(found, model())}.${scaled}`);
}

async function film(): Promise<void> {
  if (onServer()) throw new Error("The webcam is segmented in this browser alone; choose that first.");
  const loaded = await (loading ?? prepare()), info = model();
  await webcam.start();
  current = null;
  clear();
  refresh();
  say("The webcam is on.");
  const frames = webcam.each(async (frame, rate) => {
    const found = await engine.segment(frame, MAX_PIXELS);
    if (!webcam.open || model() !== info) drop(found);
    else show(found, loaded, rate ? `${rate.toFixed(0)} pictures a second. ` : "");
  });
  frames.catch((reason) => {
    stopWebcam();
    complain(reason);
  });
}

function stopWebcam(): void {
  if (!webcam.open) return;
  webcam.stop();
  clear();
  say("");
  refresh();
}

async function view(): Promise<void> {
  const wanted = chosen("view") === "cutout" && !webcam.open;
  if (wanted && cutout.hidden) {
    const asked = current!, words = inWords(asked.found!, model()), picture = await engine.cutout();
    if (current !== asked || !asked.found) return;
    cutout.src = URL.createObjectURL(picture);
    cutout.alt = `The cut-out: ${words}`;
    await cutout.decode();
  }
  cutout.hidden = !wanted;
  mask.hidden = wanted;
}

async function saveAs(ending: string, made: () => Promise<Blob>): Promise<void> {
  const name = `${current!.file.name.replace(/\.[^.]*$/, "")}.${ending}.png`;
  save(await made(), name);
}

async function begin(): Promise<void> {
  await listModels();
  await prepare();
}

onPhoto((file) => void attempt(() => take(file)));
at("sample").addEventListener("click", () => void attempt(async () => {
  await take(new File([await (await ask(SAMPLE, "")).blob()], "sample.jpg", { type: "image/jpeg" }));
}));
segmentButton.addEventListener("click", () => void attempt(segment));
at("webcam").addEventListener("click", () => void attempt(film));
at("stop").addEventListener("click", () => {
  stopWebcam();
  at("webcam").focus();
});
at("shoot").addEventListener("click", () => void attempt(async () => {
  await take(await webcam.photo());
  await segment();
}));
modelChoice.addEventListener("change", () => void attempt(async () => {
  stopWebcam();
  showCard(at("card-text"), model());
  clear();
  if (current) current.found = null;
  await prepare();
}));
for (const input of document.querySelectorAll('input[name="where"]')) input.addEventListener("change", refresh);
for (const input of document.querySelectorAll('input[name="view"]')) input.addEventListener("change", () => void attempt(view));
at("save-cutout").addEventListener("click", () => void attempt(() => saveAs("cutout", () => engine.cutout())));
at("save-labels").addEventListener("click", () => void attempt(() => saveAs("labels", () => engine.labels())));
const opacity = at<HTMLInputElement>("opacity");
const fade = (): void => {
  overlay.style.opacity = String(opacity.valueAsNumber / 100);
  at("opacity-said").textContent = `${opacity.value} %`;
};
opacity.addEventListener("input", fade);
at("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = at<HTMLInputElement>("token").value.trim();
  void attempt(begin);
});
at("webcam-why").hidden = missing === "";
at("webcam-why").textContent = missing;
history.replaceState(null, "", location.pathname); // the token is not for the address bar
fade();
register();
void attempt(begin);
