// Times and numbers of the pages that are read again and again.

import { make } from "./dom.js";
import { language, t } from "./i18n.js";

/** A time in UTC, like the commands and the summaries of alerts. */
export const formatTime = (seconds) => {
  const date = new Date(1000 * seconds);
  return Number.isNaN(date.getTime()) ? t("unknown time") : `${date.toISOString().slice(0, 16).replace("T", " ")} UTC`;
};

export const formatShare = (share) => (share === null ? "–" : `${Math.round(100 * share)} %`);

export const formatNumber = (number) => number.toLocaleString(language, { maximumFractionDigits: 1 });

const pluralRules = new Intl.PluralRules(language);

/** A text with a number, from the English texts for 1 and for other numbers. Chinese has only the latter. */
export const pluralize = (number, singular, plural) =>
  t(pluralRules.select(number) === "one" ? singular : plural, { number: formatNumber(number) });

/** A time in UTC, with the local time as its title. */
export function timeElement(seconds) {
  const date = new Date(1000 * seconds);
  if (Number.isNaN(date.getTime())) return make("span", {}, formatTime(seconds));
  return make("time", { dateTime: date.toISOString(), title: t("{time} local time", { time: date.toLocaleString(language) }) }, formatTime(seconds));
}

/** When the page was read, for pages that are read again every 15 seconds. */
export const describeRefresh = () =>
  t("Last read at {time}; read again every 15 seconds.", { time: formatTime(Date.now() / 1000) });

/** The message of an error on a page that still shows what it read before. */
export const staleError = ({ message }) => `${message} ${t("The page shows what it read before, and tries again.")}`;
