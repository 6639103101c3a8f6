// Keeps every file of the page that was loaded, so that it works offline, and adds the headers that
// threads need where the server does not send them.
const PREFIX = `gan-slimming ${self.registration.scope} `;
const CACHE = `${PREFIX}BUILD`;
const PAGE = ["./", "style.css", "page.js", "network.js", "numbers.js", "offline.js",
  "pixels.js", "worker.js", "config.json", "icon.svg", "page.webmanifest"];

self.addEventListener("install", (event) => {
  self.skipWaiting();
  const fresh = PAGE.map((path) => new Request(path, { cache: "reload" }));
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(fresh)));
});

self.addEventListener("activate", (event) => {
  const clean = async () => {
    const names = await caches.keys();
    const old = names.filter((name) => name.startsWith(PREFIX) && name !== CACHE);
    await Promise.all(old.map((name) => caches.delete(name)));
    await self.clients.claim();
  };
  event.waitUntil(clean());
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const inside = request.url.startsWith(self.registration.scope);
  if (request.method === "GET" && inside) event.respondWith(answer(request));
});

async function answer(request) {
  const cache = await caches.open(CACHE);
  const page = request.mode === "navigate" ? "./" : request;
  let response = await cache.match(page, { ignoreSearch: true });
  if (!response) {
    response = await fetch(request);
    if (response.status === 200) await cache.put(request, response.clone());
  }
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  headers.delete("Content-Encoding"); // the body is unpacked already
  headers.delete("Content-Length");
  return new Response(response.body, { status: response.status, headers });
}
