// The sources of an answer: a list below it, and the marks such as [1] in its text that lead there.

import { make } from "./dom.js";
import { t } from "./i18n.js";

/**
 * Describe cited passages for `MarkdownView` and `sourceList`.
 *
 * @param citations passages as the server reports them: `{ number, source, text, page }`.
 * @return the sources by number; a mark is labelled with `label` and moves to `element()`.
 */
export function toSources(citations = []) {
  return new Map(citations.map((citation) => {
    const { number, source: name } = citation;
    const source = { ...citation, label: t("Source {number}: {name}", { number, name }), summary: null, element: () => source.summary };
    return [number, source];
  }));
}

/** The list of sources; empty without any. */
export function sourceList(sources) {
  const list = make("section", { class: "sources", "aria-label": t("Sources"), hidden: !sources.size });
  if (sources.size) list.append(make("h2", {}, t("Sources")), make("ol", {}, ...[...sources.values()].map(item)));
  return list;
}

function item(source) {
  const page = source.page ? `, ${t("page {page}", { page: source.page })}` : "";
  source.summary = make("summary", {}, `[${source.number}] `, make("bdi", {}, source.source || t("Document")), page);
  return make("li", {}, make("details", { class: "source" }, source.summary, make("blockquote", { dir: "auto" }, source.text)));
}
