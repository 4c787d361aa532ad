/** Keeps the page usable without a network: what it was made of, and what it has loaded, is served from the cache. */

declare const SHELL: string[]; // set by the build, as is the next
declare const BUILD: string;

interface Extendable extends Event {
  waitUntil(promise: Promise<unknown>): void;
}
interface Fetching extends Event {
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

worker.addEventListener("install", (event) => {
  event.waitUntil(caches.open(NAME).then((cache) => cache.addAll(SHELL)).then(() => worker.skipWaiting()));
});

worker.addEventListener("activate", (event) => {
  const clean = async (): Promise<void> => {
    const now = await caches.open(NAME);
    for (const name of (await caches.keys()).filter((name) => name.startsWith("seg-edge-") && name !== NAME)) {
      const old = await caches.open(name);
      // What kept its name has kept its content: nine megabytes need not be loaded again.
      for (const request of await old.keys()) {
        const kept = await old.match(request);
        if (kept && request.url.includes("/assets/litert-")) await now.put(request, kept);
      }
      await caches.delete(name);
    }
    await worker.clients.claim();
  };
  event.waitUntil(clean());
});

/** Under these addresses nothing ever changes. */
const lasting = (path: string): boolean => path.startsWith("/assets/") || path.endsWith(".tflite");

async function kept(request: Request): Promise<Response> {
  const found = await caches.match(request, { ignoreVary: true });
  if (found) return found;
  const response = await fetch(request);
  if (response.ok) await (await caches.open(NAME)).put(request, response.clone());
  return response;
}

async function newest(request: Request): Promise<Response> {
  try {
    const response = await fetch(request);
    // Another server may be on this port now, such as that of `seg-edge camera`: its page is not ours to keep.
    const isOurs = response.ok && response.headers.has("Cross-Origin-Opener-Policy");
    if (isOurs) await (await caches.open(NAME)).put(request, response.clone());
    return response;
  } catch (error) {
    const found = await caches.match(request, { ignoreVary: true });
    if (found) return found;
    throw error;
  }
}

worker.addEventListener("fetch", (event) => {
  const { origin, pathname } = new URL(event.request.url);
  if (event.request.method !== "GET" || origin !== location.origin) return;
  if (lasting(pathname)) event.respondWith(kept(event.request));
  else if (pathname === "/" || pathname === "/v1/models") event.respondWith(newest(event.request));
});
