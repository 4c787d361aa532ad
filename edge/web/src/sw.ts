/** Keeps the page usable without a network: its own files, and what it has loaded, are served from the cache. */

declare const SHELL: string[]; // set by the build, like the next ones
declare const ENGINE: string[];
declare const BUILD: string;

interface Extendable extends Event {
  waitUntil(promise: Promise<unknown>): void;
}
interface Fetching extends Extendable {
  readonly request: Request;
  respondWith(response: Promise<Response>): void;
}
const worker = self as unknown as {
  skipWaiting(): Promise<void>;
  clients: { claim(): Promise<void> };
  addEventListener(kind: "install" | "activate", listener: (event: Extendable) => void): void;
  addEventListener(kind: "fetch", listener: (event: Fetching) => void): void;
};
const NAME = `seg-edge-${BUILD}`;
const ROOT = new URL(".", location.href).pathname; // a proxy may serve the page under another path

worker.addEventListener("install", (event) => {
  event.waitUntil(caches.open(NAME).then((cache) => cache.addAll(SHELL.map((name) => ROOT + name))).then(() => worker.skipWaiting()));
});

worker.addEventListener("activate", (event) => {
  const clean = async (): Promise<void> => {
    const now = await caches.open(NAME);
    for (const name of (await caches.keys()).filter((name) => name.startsWith("seg-edge-") && name !== NAME)) {
      const old = await caches.open(name);
      // Same name, same content: nine megabytes aren't loaded again, and the page keeps working offline.
      for (const request of await old.keys()) {
        const { pathname } = new URL(request.url), kept = await old.match(request);
        if (!kept || !(lasting(pathname) || pathname === `${ROOT}v1/models`)) continue;
        if (!(await now.match(request, { ignoreVary: true }))) await now.put(request, kept).catch(() => undefined);
      }
      await caches.delete(name);
    }
    await worker.clients.claim();
  };
  event.waitUntil(clean());
});

/** The content at these addresses never changes. Other addresses may belong to another program on this port. */
function lasting(path: string): boolean {
  if (!path.startsWith(ROOT)) return false;
  const name = path.slice(ROOT.length);
  return (name !== "" && SHELL.includes(name)) || ENGINE.includes(name) || /^v1\/models\/[0-9a-f]{64}\.tflite$/.test(name);
}

/** Caches a response after it was delivered; a full disk must not prevent that. */
function put(event: Fetching, response: Response): void {
  const copy = response.clone();
  event.waitUntil(caches.open(NAME).then((cache) => cache.put(event.request, copy)).catch(() => undefined));
}

async function kept(event: Fetching): Promise<Response> {
  const found = await caches.match(event.request, { ignoreVary: true });
  if (found) return found;
  const response = await fetch(event.request);
  if (response.ok) put(event, response);
  return response;
}

async function newest(event: Fetching): Promise<Response> {
  try {
    const response = await fetch(event.request);
    // Another server may use this port now, such as that of `seg-edge camera`: its page must not be cached.
    if (response.ok && response.headers.has("Cross-Origin-Opener-Policy")) put(event, response);
    return response;
  } catch (error) {
    const found = await caches.match(event.request, { ignoreVary: true });
    if (found) return found;
    throw error;
  }
}

worker.addEventListener("fetch", (event) => {
  const { origin, pathname } = new URL(event.request.url);
  if (event.request.method !== "GET" || origin !== location.origin) return;
  if (lasting(pathname)) event.respondWith(kept(event));
  else if (pathname === ROOT || pathname === `${ROOT}v1/models`) event.respondWith(newest(event));
});
