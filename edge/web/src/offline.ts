/** What makes the page work without a network, beside the service worker itself. */

/** Without a service worker the page works, but not offline. */
export function register(): void {
  void navigator.serviceWorker?.register("/sw.js").catch(() => undefined);
}

/** What was loaded before the service worker was there goes into its cache, from the browser's own. */
export async function keep(addresses: string[], token: string): Promise<void> {
  if (!navigator.serviceWorker) return;
  await navigator.serviceWorker.ready;
  const headers = token ? { Authorization: `Bearer ${token}` } : undefined;
  const wanted = ["/v1/models", ...addresses];
  await Promise.all(wanted.map((address) => fetch(address, { headers }).catch(() => undefined)));
  for (let i = 0; i < 100; i++) {
    const kept = await Promise.all(wanted.map((address) => caches.match(address, { ignoreVary: true })));
    if (kept.every(Boolean)) {
      document.documentElement.dataset["offline"] = "ready";
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
