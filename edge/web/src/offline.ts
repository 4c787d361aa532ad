/** Makes the page work without a network, together with the service worker. */

import type { ModelInfo } from "./api.ts";

/** Without a service worker the page works, but not offline. */
export function register(): void {
  void navigator.serviceWorker?.register(new URL("sw.js", document.baseURI)).catch(() => undefined);
}

/** Whether an address is available without a network. */
export async function isKept(url: string): Promise<boolean> {
  return "caches" in self && (await caches.match(url, { ignoreVary: true })) !== undefined;
}

/** Caches what was loaded before the service worker was ready, and the other models. */
export async function keep(files: readonly string[], models: readonly ModelInfo[], token: string): Promise<void> {
  if (!navigator.serviceWorker) return;
  await navigator.serviceWorker.ready;
  const headers = token ? { Authorization: `Bearer ${token}` } : undefined;
  const served = models.filter(({ file }) => !file).map(({ url }) => url);
  const wanted = [new URL("v1/models", document.baseURI).href, ...files, ...served];
  for (const address of wanted) await fetch(address, { headers }).catch(() => undefined);
  for (let i = 0; i < 100; i++) {
    const kept = await Promise.all(wanted.map(isKept));
    if (kept.every(Boolean)) {
      document.documentElement.dataset["offline"] = "ready";
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
