/** The page: photos or the camera go in, pictures come out. */

import { ask, type Listing, type ModelInfo } from "./api.ts";
import { type Facing, HAS_CAMERA, Webcam } from "./camera.ts";
import { showCard } from "./card.ts";
import { at, chosen, draw, megabytes, recall, remember, save } from "./dom.ts";
import { Engine } from "./engine.ts";
import { Fault, Locked } from "./fault.ts";
import { onArrival, onChoice } from "./files.ts";
import { look, onLook } from "./looks.ts";
import { Models } from "./models.ts";
import { isKept, keep, register } from "./offline.ts";
import { CAN_COPY, CAN_SHARE, copy, nameOf, saveZip, share, typeOf } from "./output.ts";
import type { Look } from "./paint.ts";
import { findsPeople, inWords, namesOf, showNumbers } from "./result.ts";
import { type Photo, Strip } from "./strip.ts";
import { text, translate, type Word } from "./strings.ts";
import { readModel } from "./tflite.ts";
import type { Found, Loaded, Where } from "./worker.ts";

declare const SAMPLE: string; // set by the build

const status = at("status"), error = at("error"), progress = at<HTMLProgressElement>("progress");
const before = at<HTMLCanvasElement>("before"), after = at<HTMLCanvasElement>("after"), video = at<HTMLVideoElement>("video");
const divider = at<HTMLInputElement>("divider");
const webcam = new Webcam(video);
const strip = new Strip((photo) => void attempt(() => show(photo)));
const engine = new Engine({
  progress: (done, total) => {
    progress.hidden = done === total;
    progress.value = done / total;
    say(done === total ? text("preparing") : text("loadingEngine", { size: megabytes(total) }));
  },
  waiting: (seconds) => say(text("waiting", { seconds })),
});

// Only URLSearchParams reads a plus sign as a space.
const tokenIn = (address: string): string | null =>
  new URLSearchParams(address.slice(address.indexOf("#") + 1).replaceAll("+", "%2B")).get("token");
const served = (path: string): string => new URL(path.replace(/^\//, ""), document.baseURI).href;

let token = tokenIn(location.hash) ?? recall("token");
let listing: Listing | null = null, models: Models | null = null;
let loading: Promise<Loaded> | null = null;
let found: Found | null = null;
let facing: Facing = "user";
let busy = 0; // number of tasks in progress

const model = (): ModelInfo => models!.current;
const onServer = (): boolean => !at("where").hidden && !model().file && chosen("where") === "server";

/** Where photos are segmented. */
function where(): Where {
  if (!onServer()) return null;
  const { name, card } = model();
  return { url: served(`v1/segment?model=${encodeURIComponent(name)}`), token, classes: card.classes, limits: listing!.limits };
}

/** Shows a status, once: screen readers read out each change. */
function say(words: string): void {
  if (status.textContent !== words) status.textContent = words;
}

function wordsOf(reason: unknown): string {
  return reason instanceof Fault ? text(reason.word, reason.values) : text("broken");
}

/** Shows why something failed; a missing access code is asked for. */
function complain(reason: unknown): void {
  if (!(reason instanceof Fault)) console.error(reason);
  progress.hidden = true;
  say("");
  error.textContent = wordsOf(reason);
  if (reason instanceof Locked) {
    remember("token", "");
    at("token-form").hidden = false;
    at<HTMLInputElement>("token").select();
  }
}

function isUsable(element: Element | null): element is HTMLElement {
  return element instanceof HTMLElement && element.offsetParent !== null && !element.matches(":disabled");
}

/** Does something for the user, and reports a failure. */
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
    // The keyboard focus must not jump to the start of the page because a button was disabled or removed meanwhile. By now
    // it is on the page itself, or still on the disabled button.
    const { activeElement } = document, isLost = activeElement === document.body || !isUsable(activeElement);
    if (isLost && focused !== document.body) {
      (isUsable(focused) ? focused : webcam.open ? at("shoot") : found ? at("save") : at("choose")).focus({ preventScroll: true });
    }
  }
}

/** Shows what can be done now. */
function refresh(): void {
  const live = webcam.open, hasPhoto = strip.current !== null;
  document.body.classList.toggle("busy", busy > 0);
  at("drop").hidden = hasPhoto || live || !at("token-form").hidden;
  at("viewer").hidden = !hasPhoto && !live;
  before.hidden = live;
  video.hidden = !live;
  after.hidden = !found;
  divider.hidden = at("line").hidden = at("checks").hidden = after.hidden;
  at("picture").classList.toggle("mirrored", live && webcam.mirrored);
  at("outputs").hidden = live;
  at("live-buttons").hidden = !live;
  at("all").hidden = live || strip.photos.length < 2;
  at<HTMLButtonElement>("webcam").disabled = live || !HAS_CAMERA || listing === null;
  for (const id of ["save", "copy", "share", "save-labels"]) at<HTMLButtonElement>(id).disabled = live || !found;
  at<HTMLButtonElement>("save-all").disabled = busy > 0;
  const sends = models !== null && onServer();
  at("privacy").classList.toggle("sends", sends);
  at("privacy").textContent = text(sends ? "sent" : "private");
}

async function prepare(): Promise<Loaded> {
  say(text("loading"));
  const info = model();
  const pending = (loading = engine.load({ model: info, token }));
  pending.catch(() => {
    if (loading === pending) loading = null; // so that the next photo tries again
  });
  const loaded = await pending.catch((reason) => {
    throw reason instanceof Fault && reason.word === "gone" && !navigator.onLine ? new Fault("offlineModel") : reason;
  });
  if (loading !== pending) return loaded; // another model was chosen meanwhile
  progress.hidden = true;
  say(text("ready"));
  void keep(loaded.files, models!.all, token);
  return loaded;
}

function describeModel(): void {
  const { classes } = model().card;
  showCard(at("card-text"), model());
  models!.note();
  at("title").textContent = findsPeople(classes) ? text("title") : text("titleOf", { classes: namesOf(classes) });
}

async function listModels(): Promise<void> {
  const response = await ask(served("v1/models"), token);
  const received = (await response.json()) as Listing;
  listing = { ...received, models: received.models.map((info) => ({ ...info, url: served(info.url) })) };
  at("token-form").hidden = true;
  remember("token", token);
  models = new Models(listing);
  at("where").hidden = !listing.on_server;
  describeModel();
}

function clear(): void {
  found = null;
  at("numbers").hidden = true;
  before.width = after.width = 1;
}

/** Opens what the user added: photos, or a model. */
async function take(files: readonly File[]): Promise<void> {
  const model = files.find(({ name }) => /\.tflite$/i.test(name));
  if (model) return openModel(model);
  stopWebcam();
  const added = files.map((file) => strip.add(file)), faults: unknown[] = [];
  for (const photo of added) {
    try {
      if (photo.file.size === 0) throw new Fault("empty", { name: photo.file.name });
      if (photo === added[0]) await show(photo);
      if (strip.photos.length > 1) await fill(photo);
    } catch (reason) {
      faults.push(reason);
      if (isUndecodable(reason) || (reason instanceof Fault && reason.word === "empty")) strip.remove(photo);
    }
  }
  if (strip.photos.length > 1) await fill(strip.photos[0]!);
  if (!strip.current && strip.photos.length) await show(strip.photos.at(-1)!);
  if (!faults.length) return;
  complain(faults[0]);
  if (faults.length > 1) error.append(` ${text("leftOut", { count: faults.length - 1 })}`);
}

async function fill(photo: Photo): Promise<void> {
  strip.fill(photo, await named(photo.file, engine.thumbnail(photo.file)));
}

function isUndecodable(reason: unknown): reason is Fault {
  return reason instanceof Fault && reason.word.startsWith("undecodable");
}

/** Adds the name of a file that can't be decoded to the message. */
async function named<Kind>({ name }: File, work: Promise<Kind>): Promise<Kind> {
  return work.catch((reason) => {
    throw isUndecodable(reason) ? new Fault(reason.word, { name }) : reason;
  });
}

/** Segments a photo and shows it with the effect. */
async function show(photo: Photo): Promise<void> {
  stopWebcam();
  clear();
  strip.current = photo;
  const server = where();
  const loaded = server ? { threads: 0, files: [] } : await (loading ?? prepare());
  if (strip.current !== photo) return;
  say(text("working"));
  refresh();
  const chosenLook = look(), info = model();
  const result = await named(photo.file, engine.segment(photo.file, chosenLook, server));
  if (strip.current !== photo || model() !== info) return drop(result); // another photo or model was chosen meanwhile
  const { name } = photo.file;
  before.setAttribute("aria-label", name === "sample.jpg" ? text("samplePhoto") : text("photoNamed", { name }));
  draw(before, result.photo!);
  showFound(result, threadsInWords(loaded));
  if (chosenLook.effect !== look().effect) await repaint();
  say([inWords(result, info.card.classes), result.original && text("scaled", { size: result.original.join("×") })].filter(Boolean).join(" "));
}

function showFound(result: Found, threads: string): void {
  found = result;
  shape(result.size);
  draw(after, result.picture);
  label();
  showNumbers(result, model().card.classes, threads);
  models!.note(result.timing["inference"]);
}

/** Describes the pictures for users who can't see them. */
function label(): void {
  const effect = text((look().effect === "anonymize" ? "privacy" : look().effect) as Word), name = strip.current?.file.name ?? "";
  after.setAttribute("aria-label", webcam.open ? text("liveResult", { effect }) : text("result", { name, effect }));
}

function shape([width, height]: readonly [number, number]): void {
  at("picture").style.setProperty("--aspect", String(width / height));
}

async function repaint(): Promise<void> {
  if (webcam.open || !found) return;
  const result = found, picture = await engine.paint(look());
  if (found !== result) return picture.close();
  draw(after, picture);
  label();
}

function threadsInWords({ threads }: Loaded): string {
  if (threads === 0) return text("byServer");
  if (threads > 1) return text("threads", { count: threads });
  return text(self.crossOriginIsolated ? "oneThread" : "oneThreadWhy");
}

/** Frees the memory of pictures that won't be shown. */
function drop(result: Found): void {
  result.photo?.close();
  result.picture.close();
}

async function film(): Promise<void> {
  if (onServer()) throw new Fault("liveHere");
  const loaded = await (loading ?? prepare());
  await webcam.start(facing);
  strip.current = null;
  clear();
  shape([video.videoWidth, video.videoHeight]);
  at("turn").hidden = !(await webcam.canTurn());
  refresh();
  say(text("live"));
  let numbersAt = 0;
  const frames = webcam.each(async (frame, rate) => {
    const info = model(), result = await engine.frame(frame, look());
    if (!webcam.open || model() !== info) return drop(result);
    const first = found === null;
    found = result;
    draw(after, result.picture);
    if (first) {
      label();
      refresh();
    }
    if (performance.now() - numbersAt < 500) return;
    numbersAt = performance.now();
    shape(result.size);
    showNumbers(result, info.card.classes, [rate && text("rate", { rate: rate.toFixed(0) }), threadsInWords(loaded)].filter(Boolean).join(", "));
    models!.note(result.timing["inference"]);
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

async function openModel(file: File): Promise<void> {
  const info = await readModel(file), was = models!.current.url;
  models!.open(info);
  await changeModel().catch((reason) => {
    models!.forget(info, was);
    describeModel();
    loading = null;
    throw reason;
  });
  if (!strip.current) say(text("ownReady", { name: info.name }));
}

async function changeModel(): Promise<void> {
  const live = webcam.open;
  describeModel();
  await prepare();
  if (!live && strip.current) await show(strip.current);
}

async function saveAll(): Promise<void> {
  const pictures: { name: string; content: Uint8Array }[] = [], chosenLook: Look = look(), server = where(), count = strip.photos.length;
  for (const [i, photo] of strip.photos.entries()) {
    say(text("workingOf", { number: i + 1, count }));
    const picture = await named(photo.file, engine.make(photo.file, chosenLook, server, typeOf(chosenLook.effect)));
    pictures.push({ name: nameOf(photo.file.name, chosenLook.effect), content: new Uint8Array(await picture.arrayBuffer()) });
  }
  saveZip(pictures);
  say(text("doneOf", { count }));
}

async function setBackground(picture: File | null): Promise<void> {
  await (picture ? named(picture, engine.background(picture)) : engine.background(null));
  at("background").classList.toggle("chosen", picture !== null);
  await repaint();
}

async function begin(): Promise<void> {
  await listModels();
  await prepare();
}

const current = (): string => nameOf(strip.current!.file.name, look().effect);
const picture = (type = typeOf(look().effect)): Promise<Blob> => engine.save(look(), type);
function onClick(id: string, work: () => Promise<void>): void {
  at(id).addEventListener("click", () => void attempt(work));
}

translate();
onArrival((files) => void attempt(() => take(files)));
onChoice("choose", "files", (files) => void attempt(() => take(files)));
onChoice("background", "background-file", ([file]) => void attempt(() => setBackground(file!)));
onChoice("own", "own-file", ([file]) => void attempt(() => openModel(file!)));
onLook(() => void attempt(repaint), () => void attempt(() => setBackground(null)));
at("drop").addEventListener("click", (event) => {
  if (event.target !== at("sample")) at("choose").click(); // for pointers; the keyboard has the button
});
onClick("sample", async () => {
  await take([new File([await (await ask(served(SAMPLE), "")).blob()], "sample.jpg", { type: "image/jpeg" })]);
});
onClick("webcam", film);
onClick("turn", async () => {
  facing = facing === "user" ? "environment" : "user";
  await film();
});
at("stop").addEventListener("click", () => {
  stopWebcam();
  const last = strip.photos.at(-1);
  if (last) void attempt(() => show(last));
  at("webcam").focus();
});
onClick("shoot", async () => take([await webcam.photo()]));
onClick("save", async () => save(await picture(), current()));
onClick("copy", async () => {
  await copy(picture("image/png"));
  say(text("copied"));
});
onClick("share", async () => share(await picture(), current()));
onClick("save-labels", async () => save(await engine.labels(), current().replace(/\.[^.]+\.[^.]+$/, ".labels.png")));
onClick("save-all", saveAll);
onClick("clear", async () => {
  strip.clear();
  clear();
  say(text("ready"));
});
at("model").addEventListener("change", () => void attempt(changeModel));
for (const input of document.querySelectorAll('input[name="where"]')) {
  input.addEventListener("change", () => void attempt(async () => {
    if (strip.current) await show(strip.current);
  }));
}
divider.addEventListener("input", () => at("picture").style.setProperty("--cut", String(divider.valueAsNumber / 100)));
at("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const given = at<HTMLInputElement>("token").value.trim();
  token = tokenIn(given) ?? given;
  void attempt(begin);
});
for (const kind of ["online", "offline"]) addEventListener(kind, () => void models?.mark(isKept));
at("copy").hidden = !CAN_COPY;
at("share").hidden = !CAN_SHARE;
at("webcam-why").hidden = HAS_CAMERA;
document.title = `seg-edge: ${text("title")}`;
history.replaceState(null, "", location.pathname); // the access code must not stay in the address bar
register();
void attempt(begin).then(() => models?.mark(isKept));
