/// <reference lib="webworker" />
// Keeps the page itself for visits without a network; models are kept by the page.
const worker = self as unknown as ServiceWorkerGlobalScope;
/** Put in by the build. */
const files = "__FILES__" as unknown as readonly string[];
const cacheName = "page-__VERSION__";

worker.addEventListener("install", (event) => {
  const stored = caches.open(cacheName).then((cache) => cache.addAll([...files]));
  event.waitUntil(stored.then(() => worker.skipWaiting()));
});

worker.addEventListener("activate", (event) => {
  const old = caches
    .keys()
    .then((names) => names.filter((name) => name.startsWith("page-") && name !== cacheName))
    .then((names) => Promise.all(names.map((name) => caches.delete(name))));
  event.waitUntil(old.then(() => worker.clients.claim()));
});

/** The page comes from the network while there is one, its hashed parts from the cache. */
worker.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || new URL(request.url).origin !== worker.location.origin) return;
  const cached = () => caches.match(request, { ignoreSearch: request.mode === "navigate" });
  event.respondWith(
    request.mode === "navigate"
      ? fetch(request).catch(async () => (await cached()) ?? Response.error())
      : cached().then((found) => found ?? fetch(request)),
  );
});
