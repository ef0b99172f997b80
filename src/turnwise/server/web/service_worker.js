// Keeps the files of the chat page, so that it opens at once, and without the server. `VERSION` and `FILES` stand before this text.
//
// A page uses the files of the version that its HTML came from, until it is closed: new ones are never mixed with old ones. Nothing
// else is kept, and other pages and requests go to the server.

const PREFIX = "turnwise-files-";
const NAME = PREFIX + VERSION;
const PAGES = "turnwise-pages"; // version and id of each open page, as the worker may be stopped and started

const get = (url, name) => caches.match(url, { cacheName: name });
const versionOf = (response) => response?.headers.get("x-turnwise-assets");

async function install() {
  const cache = await caches.open(NAME);
  try {
    await cache.addAll([...FILES, "/"].map((path) => new Request(path, { cache: "no-cache" })));
    if (versionOf(await get("/", NAME)) !== VERSION) throw Error("The server has other files by now."); // the browser tries again
  } catch (error) {
    await caches.delete(NAME);
    throw error;
  }
  await skipWaiting();
}

/** Delete the files of pages that are closed. */
async function cleanUp() {
  const pages = await caches.open(PAGES);
  const used = [NAME, PAGES];
  for (const key of await pages.keys()) {
    const [version, id] = (await (await pages.match(key)).text()).split(" ");
    if (await clients.get(id)) used.push(PREFIX + version);
    else await pages.delete(key);
  }
  await removeAllBut(used);
}

async function removeAllBut(used) {
  for (const name of await caches.keys()) if (name.startsWith("turnwise-") && !used.includes(name)) await caches.delete(name);
}

/** The page of the server; the kept one while it does not run. */
async function openPage({ request, resultingClientId: id }) {
  let response = await fetch(request).catch(() => null);
  if (response && !versionOf(response)) await leaveIfRemoved();
  if (!(response?.status < 502)) response = (await get("/", NAME)) ?? response; // 502 to 504: a proxy, or a server that stops
  const version = versionOf(response);
  if (version) await (await caches.open(PAGES)).put(`/${id}`, new Response(`${version} ${id}`));
  return response ?? Response.error();
}

async function openFile({ request, clientId: id }) {
  const page = await get(`/${id}`, PAGES);
  return (page && (await get(request, PREFIX + (await page.text()).split(" ")[0]))) || fetch(request);
}

/** Without the chat page, or with another program at this address, the worker ends. */
async function leaveIfRemoved() {
  const response = await fetch("/service-worker.js", { cache: "no-store" }).catch(() => null);
  if (response?.status !== 404) return;
  await registration.unregister();
  await removeAllBut([]);
}

addEventListener("install", (event) => event.waitUntil(install()));
addEventListener("activate", (event) => event.waitUntil(cleanUp()));
addEventListener("fetch", (event) => {
  const { method, mode, url } = event.request;
  const { origin, pathname } = new URL(url);
  if (method !== "GET" || origin !== location.origin) return;
  if (mode === "navigate") pathname === "/" ? event.respondWith(openPage(event)) : event.waitUntil(leaveIfRemoved());
  else if (pathname.startsWith("/assets/")) event.respondWith(openFile(event));
});
