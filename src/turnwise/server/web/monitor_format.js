// Times and numbers of the monitor page.

import { make } from "./dom.js";

/** A time in UTC, like the commands and the summaries of alerts. */
export const formatTime = (seconds) => {
  const date = new Date(1000 * seconds);
  return Number.isNaN(date.getTime()) ? "unknown time" : `${date.toISOString().slice(0, 16).replace("T", " ")} UTC`;
};

export const formatShare = (share) => (share === null ? "–" : `${Math.round(100 * share)} %`);

export const formatNumber = (number) => number.toLocaleString("en", { maximumFractionDigits: 1 });

/** A number with its noun, such as "1 copy" or "1,200 copies". */
export const pluralize = (number, singular, plural) => `${formatNumber(number)} ${number === 1 ? singular : plural}`;

/** A time in UTC, with the local time as its title. */
export function timeElement(seconds) {
  const date = new Date(1000 * seconds);
  if (Number.isNaN(date.getTime())) return make("span", {}, formatTime(seconds));
  return make("time", { dateTime: date.toISOString(), title: `${date.toLocaleString()} local time` }, formatTime(seconds));
}
