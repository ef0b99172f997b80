// Panels of which one is shown, with a tab for each. Arrow keys move between the tabs.

import { make } from "./dom.js";

/** `entries`: for each tab its label, the panel that it shows, and a function that is called when it is chosen. */
export function tabs(name, entries) {
  const buttons = entries.map(([label, panel], i) => {
    panel.id = `${name}-panel-${i}`;
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", `${name}-tab-${i}`);
    return make("button", { type: "button", class: "token-tab", role: "tab", id: `${name}-tab-${i}`, "aria-controls": panel.id, onclick: () => choose(i) }, label);
  });
  const choose = (chosen) => {
    entries.forEach(([, panel], i) => {
      panel.hidden = i !== chosen;
      buttons[i].setAttribute("aria-selected", String(i === chosen));
      buttons[i].tabIndex = i === chosen ? 0 : -1;
    });
    entries[chosen][2]?.();
  };
  choose(0);
  return make("div", {
    class: "token-tabs", role: "tablist", onkeydown: (event) => {
      if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
      const step = event.key === "ArrowLeft" ? -1 : 1;
      const next = (buttons.indexOf(event.target) + step + buttons.length) % buttons.length;
      buttons[next].focus();
      choose(next);
    },
  }, ...buttons);
}
