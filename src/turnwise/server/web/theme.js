// Runs before the first paint, so that a chosen theme does not flash; everything else waits for the modules.
(() => {
  try {
    const chosen = localStorage.getItem("turnwise.theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // A browser that keeps nothing follows the system.
  }
})();
