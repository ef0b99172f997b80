// A table of numbers or facts, whose first column names the rows.

import { make } from "./dom.js";

export const numberTable = (titles, rows) =>
  make("table", { class: "number-table" },
    make("thead", {}, make("tr", {}, ...titles.map((title) => make("th", { scope: "col" }, title)))),
    make("tbody", {}, ...rows.map(([name, ...cells]) =>
      make("tr", {}, make("th", { scope: "row", dir: "auto" }, name), ...cells.map((cell) => make("td", { dir: "auto" }, cell))))),
  );

/** A folded part of a page, which scrolls with the keyboard. */
export const folded = (title, ...content) =>
  make("details", { class: "numbers" }, make("summary", {}, title), make("div", { role: "group", "aria-label": title, tabIndex: 0 }, ...content));
