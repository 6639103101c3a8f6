// The page without a network.

/**
 * Let the service worker keep the page; load once more where it brings the headers for threads.
 *
 * `untouched` says whether the page may be loaded again, for a newer version. Returns why the page
 * cannot be kept; "" where it is.
 */
export async function keepOffline(untouched) {
  if (!("serviceWorker" in navigator))
    return "This browser keeps no pages for offline use here (it needs https or localhost).";
  const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
  const known = navigator.serviceWorker.controller;
  const changed = new Promise((done) =>
    navigator.serviceWorker.addEventListener("controllerchange", done, { once: true }));
  try {
    await navigator.serviceWorker.register("sw.js");
    if (!known) await Promise.race([changed, wait(5000)]);
  } catch (error) {
    return `This page cannot be kept for offline use (${error.message}).`;
  }
  if (known) changed.then(() => untouched() && location.reload()); // a newer page is there
  const reloaded = sessionStorage.getItem("reloaded");
  if (!self.crossOriginIsolated && navigator.serviceWorker.controller && !reloaded) {
    sessionStorage.setItem("reloaded", "yes");
    location.reload();
    await new Promise(() => {});
  }
  return "";
}
