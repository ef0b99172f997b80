// Pages whose data is read again every 15 seconds.

import { byId } from "./dom.js";
import { staleError } from "./monitor_format.js";
import { showError } from "./page.js";

const REFRESH_MS = 15_000;

/**
 * Read data and show it: now, every 15 seconds, and when the page is visible again. Returns a function that does it at once.
 *
 * @param read returns the data; its argument is the signal of an AbortController.
 * @param show shows the data.
 */
export function pollPage(read, show) {
  let timer = null;
  let controller = null;
  let hasData = false;
  let hasFailed = false;

  async function refresh() {
    clearTimeout(timer);
    controller?.abort();
    const current = (controller = new AbortController());
    let canRetry = true;
    try {
      show(await read(current.signal));
      hasData = true;
      if (hasFailed) showError(""); // the error of an action stays
      hasFailed = false;
    } catch (error) {
      if (error.name === "AbortError") return;
      hasFailed = true;
      canRetry = error.status !== 401 && error.status !== 403;
      showError(canRetry && hasData ? staleError(error) : error.message, refresh);
    }
    if (current !== controller) return;
    document.body.dataset.ready = "true";
    if (canRetry) timer = setTimeout(() => document.hidden || refresh(), REFRESH_MS);
  }

  document.addEventListener("visibilitychange", () => document.hidden || refresh());
  refresh();
  return refresh;
}

let isActing = false;

/** Run an action of the user and read the data again, unless `run` returns false. Its error is shown above the page. */
export async function act(run, refresh) {
  if (isActing) return; // the second click of two
  isActing = true;
  try {
    if ((await run()) === false) return;
    showError("");
  } catch (error) {
    showError(error.message);
    return;
  } finally {
    isActing = false;
  }
  await refresh();
  if (document.activeElement === document.body) byId("main").focus({ preventScroll: true }); // the button is gone
}
