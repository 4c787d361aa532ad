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
  await Promise.all(["/v1/models", ...addresses].map((address) => fetch(address, { headers }).catch(() => undefined)));
  document.documentElement.dataset["offline"] = "ready";
}
