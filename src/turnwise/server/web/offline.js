// The way back when the server was not running.

import { t } from "./i18n.js";
import { showError } from "./page.js";

const WAIT_MS = 2000;

/** Whether an error means that the server does not run, or is being started or stopped. */
export const isDown = ({ status }) => status === 0 || status >= 502; // other errors have no status

/** Say that the server is not running, and call `start()` when it is. If it has other files by then, the page is loaded again. */
export async function waitForServer(start) {
  let check;
  const show = () => showError(t("The server is not running; this page continues as soon as it is back."), () => check(true));
  show();
  for (;;) {
    const isPressed = await new Promise((done) => setTimeout((check = done), WAIT_MS));
    const response = await fetch("/", { method: "HEAD", cache: "no-store" }).catch(() => null);
    if (response?.ok) {
      if (response.headers.get("x-turnwise-assets") !== document.documentElement.dataset.assets) return location.reload();
      showError("");
      return start();
    }
    if (isPressed) show();
  }
}
