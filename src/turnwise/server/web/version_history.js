// The history of a model's versions: which one answered when, and every change with its reason.

import { t } from "./i18n.js";
import { timeElement } from "./monitor_format.js";
import { folded, numberTable } from "./number_table.js";

const LATEST = 100; // changes that are shown

export function historyParts(events) {
  const changes = events.slice(-LATEST).reverse().map(({ time, version, state, share, actor, reason }) =>
    [timeElement(time), version, t(state) + (share ? ` ${Math.round(100 * share)} %` : ""), t(actor), reason]);
  return [
    folded(t("Which version answered when"), numberTable([t("Version"), t("From"), t("Until")], periods(events).reverse())),
    folded(t("History"), numberTable([t("Time"), t("Version"), t("State"), t("By"), t("Reason")], changes)),
  ];
}

/** The times in which a version served, oldest first. */
function periods(events) {
  const rows = [];
  for (const { version, previous, state, time } of events) {
    if (previous === "serving") rows.at(-1)[2] = timeElement(time);
    if (state === "serving") rows.push([version, timeElement(time), t("now")]);
  }
  return rows;
}
