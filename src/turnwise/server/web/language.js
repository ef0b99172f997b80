// Sets the language before the first paint. The page stays invisible until `i18n.js` has replaced the English texts.
(() => {
  const root = document.documentElement;
  let preferred = navigator.language.slice(0, 2);
  try {
    preferred = JSON.parse(localStorage.getItem("turnwise.language")) ?? preferred;
  } catch {
    // Without local storage, the language of the browser is used.
  }
  if (preferred === root.lang || !root.dataset.languages.split(" ").includes(preferred)) return;
  root.lang = preferred;
  root.classList.add("translating");
  setTimeout(() => root.classList.remove("translating"), 3000); // a page in English is better than none
})();
