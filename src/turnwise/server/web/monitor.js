// The monitor page: trends of topics and alerts, read again every 15 seconds.

import { openRow, showAlerts, showTexts, showTextsError } from "./alert_list.js";
import { byId, make, makeSvg } from "./dom.js";
import { t } from "./i18n.js";
import { keepInPlace, updateList } from "./keyed_list.js";
import * as api from "./monitor_api.js";
import { describeRefresh, formatNumber, formatShare, formatTime, pluralize, staleError } from "./monitor_format.js";
import { showError } from "./page.js";
import { storage } from "./storage.js";
import { totals, trendLine } from "./trend_line.js";
import { createTrendTable, updateTrendTable } from "./trend_table.js";

const REFRESH_MS = 15_000;
const MAX_ALERTS = 100;
const FIRST_TOPICS = 50; // shown before the rest is requested
const PERIODS = [
  { label: "6 hours", hours: 6, minutes: 15 },
  { label: "24 hours", hours: 24, minutes: 60 },
  { label: "7 days", hours: 168, minutes: 360 },
  { label: "30 days", hours: 720, minutes: 1440 },
];
const START_COMMAND = "turnwise monitor run --source file:posts.jsonl --topics topics.yaml --db FILE";

const state = { alerts: [], trends: null, period: PERIODS[1], shownTexts: null, showsAllTopics: false, timer: null, controller: null };

/** Id of the opened alert; empty if there is none. */
function selectedId() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

async function refresh() {
  clearTimeout(state.timer);
  state.controller?.abort();
  const controller = (state.controller = new AbortController());
  let canRetry = true;
  try {
    const [trends, alerts] = await Promise.all([
      api.trends(state.period, controller.signal), api.alerts(MAX_ALERTS, controller.signal),
    ]);
    Object.assign(state, { trends, alerts: alerts.data });
    keepInPlace(anchor(), () => {
      render(alerts.has_more);
      showError("");
    });
    await loadTexts(controller.signal);
  } catch (error) {
    if (error.name === "AbortError") return;
    canRetry = error.status !== 404 && error.status !== 401;
    showError(canRetry && state.trends ? staleError(error) : error.message, error.status === 404 ? null : refresh);
  }
  if (controller !== state.controller) return;
  document.body.dataset.ready = "true";
  if (canRetry) state.timer = setTimeout(() => document.hidden || refresh(), REFRESH_MS);
}

/** The element that stays where it is: the opened alert, or the first entry that is on the screen. */
function anchor() {
  const isVisible = (element) => element.getBoundingClientRect().bottom > 0;
  const opened = document.querySelector(".alert:has(> [aria-expanded=true])");
  if (opened && isVisible(opened)) return opened;
  return scrollY > 0 ? [...document.querySelectorAll(".alert, .topic")].find(isVisible) : null;
}

function render(hasMoreAlerts) {
  const { trends, alerts } = state;
  const isEmpty = trends.data.length === 0 && alerts.length === 0;
  byId("monitor-empty").hidden = !isEmpty;
  byId("monitor-empty").textContent = isEmpty ? t("There are no counts yet. Start a monitor: {command}", { command: START_COMMAND }) : "";
  byId("monitor-content").hidden = isEmpty;
  byId("monitor-newest").textContent =
    trends.newest_window === null ? "" : t("Newest counts: {time}", { time: formatTime(trends.newest_window) });
  byId("monitor-status").textContent = describeRefresh();
  renderAlerts(hasMoreAlerts);
  renderTopics();
}

function renderAlerts(hasMore) {
  const { alerts } = state;
  const numOpen = alerts.filter((alert) => alert.closed === null).length;
  const count = numOpen ? `(${numOpen}) ` : "";
  document.title = `${count}${t("Text monitor")} – Turnwise`;
  byId("alerts-title").textContent = numOpen ? t("Alerts, {number} open", { number: formatNumber(numOpen) }) : t("Alerts");
  byId("alerts-empty").hidden = alerts.length > 0;
  byId("alerts-empty").textContent =
    t("There are no alerts. The monitor learns the usual numbers of every topic for several days before its first alert.");
  byId("alerts-more").hidden = !hasMore;
  byId("alerts-more").textContent = t("Older alerts: {command}", { command: `turnwise monitor alerts --limit ${10 * MAX_ALERTS}` });
  showAlerts(alerts, toggle);
  openRow(selectedId());
}

function renderTopics() {
  const { trends, alerts } = state;
  const open = new Set(alerts.filter((alert) => alert.closed === null).map((alert) => alert.topic));
  const topics = trends.data
    .map((trend) => ({ ...trend, total: totals(trend), hasAlert: open.has(trend.topic), starts: trends.starts }))
    .sort((left, right) => right.hasAlert - left.hasAlert || right.total.counts - left.total.counts || (left.topic < right.topic ? -1 : 1));
  const isShort = !state.showsAllTopics && topics.length > FIRST_TOPICS;
  byId("topics-more").hidden = !isShort;
  byId("topics-more").textContent = t("Show all {number} topics", { number: formatNumber(topics.length) });
  const scrolled = [...document.querySelectorAll(".trend-numbers[open]")].map((element) => [element, element.scrollLeft]);
  updateList(byId("topics"), isShort ? topics.slice(0, FIRST_TOPICS) : topics, (trend) => trend.topic, createTopic, updateTopic);
  for (const [element, left] of scrolled) element.scrollLeft = left; // a topic that moves in the list loses it
}

function createTopic() {
  const details = make("details", { class: "trend-numbers numbers" }, make("summary", {}, t("Numbers")));
  const row = make("li", { class: "topic panel" }, make("div", { class: "topic-head panel-head" }), makeSvg("svg"), details);
  details.addEventListener("toggle", () => showNumbers(row));
  return row;
}

function updateTopic(row, trend) {
  const { texts, counts, share } = trend.total;
  const copies = texts - counts;
  const numbers = [
    pluralize(counts, "1 text", "{number} texts"), copies && pluralize(copies, "1 copy", "{number} copies"),
    counts && t("{share} negative", { share: formatShare(share) }),
  ];
  row.querySelector(".topic-head").replaceChildren(
    make("h3", { dir: "auto" }, trend.topic),
    ...(trend.hasAlert ? [make("span", { class: "badge" }, t("alert"))] : []),
    make("span", { class: "fine-print" }, numbers.filter(Boolean).join(" · ")),
  );
  row.querySelector("svg").replaceWith(trendLine(trend, trend.starts));
  row.trend = trend;
  showNumbers(row);
}

/** The table of a topic, which is made when it is opened. Its rows change in place, so that focus and scroll position stay. */
function showNumbers(row) {
  const details = row.querySelector("details");
  if (!details.open) return;
  const table = details.querySelector("table") ?? details.appendChild(createTrendTable());
  updateTrendTable(table, row.trend, row.trend.starts);
}

function toggle(id) {
  const isOpen = selectedId() === id;
  history.replaceState(null, "", isOpen ? location.pathname : `#${encodeURIComponent(id)}`);
  show();
}

/** Show the alert that the address names. */
function show() {
  const id = selectedId();
  const row = openRow(id);
  state.shownTexts = null;
  if (row) loadTexts(state.controller?.signal).catch(() => {});
}

/** Load the texts of the opened alert. They only change when it closes. */
async function loadTexts(signal) {
  const id = selectedId();
  const alert = state.alerts.find((entry) => entry.id === id);
  if (!alert) return;
  const version = JSON.stringify([id, alert.closed]);
  if (state.shownTexts === version) return;
  try {
    const loaded = await api.alert(id, signal);
    const row = openRow(selectedId());
    if (row?.listKey !== id) return;
    keepInPlace(row, () => showTexts(row, loaded));
    state.shownTexts = version;
  } catch (error) {
    const row = openRow(selectedId());
    if (error.name !== "AbortError" && row?.listKey === id) showTextsError(row, error.message);
  }
}

function listen() {
  byId("monitor-period").addEventListener("change", (event) => {
    state.period = PERIODS[event.target.selectedIndex];
    storage.set("monitor-period", state.period.label);
    refresh();
  });
  byId("topics-more").addEventListener("click", () => {
    state.showsAllTopics = true;
    renderTopics();
  });
  addEventListener("hashchange", () => show());
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
}

state.period = PERIODS.find(({ label }) => label === storage.get("monitor-period")) ?? PERIODS[1];
byId("monitor-period").replaceChildren(...PERIODS.map((period) => make("option", { selected: period === state.period }, t(period.label))));
listen();
refresh().then(() => openRow(selectedId())?.scrollIntoView({ block: "nearest" }));
