// Light or dark. Runs before the first paint, so that a chosen theme does not flash; everything else waits for modules.
(() => {
  const root = document.documentElement;
  const key = "turnwise.theme";
  try {
    const chosen = localStorage.getItem(key);
    if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
  } catch {
    // A browser that keeps nothing follows the system.
  }

  function toggle() {
    const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    const next = (root.dataset.theme ?? system) === "dark" ? "light" : "dark";
    root.dataset.theme = next;
    try {
      localStorage.setItem(key, next);
    } catch {
      // It lasts as long as the page.
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme")?.addEventListener("click", toggle);
  });
})();
