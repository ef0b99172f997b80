// Light or dark theme. Runs before the first paint, so that the page does not flash in the other theme.
(() => {
  const root = document.documentElement;
  const key = "turnwise.theme";
  try {
    const storedTheme = localStorage.getItem(key);
    if (storedTheme === "light" || storedTheme === "dark") root.dataset.theme = storedTheme;
  } catch {
    // Without local storage, the theme of the system is used.
  }

  function toggle() {
    const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    const next = (root.dataset.theme ?? system) === "dark" ? "light" : "dark";
    root.dataset.theme = next;
    try {
      localStorage.setItem(key, next);
    } catch {
      // The choice is lost with the page.
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme")?.addEventListener("click", toggle);
  });
})();
