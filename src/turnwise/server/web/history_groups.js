// Groups of the list of conversations by date.

import { language, t } from "./i18n.js";

const DAY_MS = 86_400_000;

/** Midnight before a time, in the time zone of the reader. */
const startOfDay = (time) => new Date(time).setHours(0, 0, 0, 0);

/** Key and label of the group of a Unix time in seconds. */
export function dateGroup(seconds, now = Date.now()) {
  const time = seconds * 1000;
  const today = startOfDay(now);
  if (time >= today) return { key: "today", label: t("Today") };
  if (time >= startOfDay(today - DAY_MS / 2)) return { key: "yesterday", label: t("Yesterday") };
  if (time >= startOfDay(today - 6.5 * DAY_MS)) return { key: "week", label: t("Last 7 days") };
  const date = new Date(time);
  const key = `${date.getFullYear()}-${date.getMonth()}`;
  if (!monthLabels.has(key)) monthLabels.set(key, monthNames.format(date));
  return { key, label: monthLabels.get(key) };
}

const monthLabels = new Map(); // by key; formatting takes longer than all the rest
const monthNames = new Intl.DateTimeFormat(language, { month: "long", year: "numeric" });

/** Consecutive entries of the same group: `{ key, label, entries }`. */
export function groupByDate(entries, now = Date.now()) {
  const groups = [];
  for (const entry of entries) {
    const group = dateGroup(entry.updated, now);
    if (groups.at(-1)?.key === group.key) groups.at(-1).entries.push(entry);
    else groups.push({ ...group, entries: [entry] });
  }
  return groups;
}
