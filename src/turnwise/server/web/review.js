// The review page: one answer at a time, with keys for the verdicts.

import * as api from "./api.js";
import { byId, make } from "./dom.js";
import { pressedTags, TAGS, tagButtons } from "./feedback_tags.js";
import { language, t } from "./i18n.js";
import { MarkdownView } from "./markdown.js";
import { pluralize } from "./monitor_format.js";
import { showError, startPage } from "./page.js";
import { storage } from "./storage.js";

const LOW_WATER = 5; // loaded answers below which more are loaded
const PAGE = 20;
const MAX_PAGE = 100;
const REASONS = {
  disagreement: t("People disagree about this answer"),
  disliked: t("Somebody did not like this answer"),
  uncertain: t("The model was uncertain"),
  off_topic: t("The question was taken as off topic"),
};
const SPEAKERS = {
  user: t("User"), assistant: t("Assistant"), system: t("Instructions"), developer: t("Instructions"), tool: t("Tool"),
};
const TAG_LABELS = new Map(TAGS);

const state = { queue: [], current: null, seen: new Set(), numDone: 0, startedAt: 0, last: null, isBusy: false };

const reviewer = () => byId("review-reviewer").value.trim() || undefined;

/** Load answers that were not shown yet. Skipped ones stay in the server's queue, so that more are asked for. */
async function load() {
  const limit = Math.min(MAX_PAGE, PAGE + state.seen.size);
  const { data } = await api.reviewItems(reviewer(), limit);
  const waiting = new Set(state.queue.map(({ id }) => id));
  state.queue.push(...data.filter(({ id }) => !state.seen.has(id) && !waiting.has(id)));
}

async function next() {
  if (state.queue.length < LOW_WATER) await load();
  show(state.queue.shift() ?? null);
}

function show(item) {
  state.current = item;
  byId("review-item").hidden = !item;
  byId("review-empty").hidden = Boolean(item);
  if (!item) return;
  state.seen.add(item.id);
  state.startedAt ||= performance.now();
  byId("review-reason").textContent = REASONS[item.reason];
  byId("review-facts").textContent = facts(item);
  byId("review-history").replaceChildren(...item.history.map(message));
  new MarkdownView(byId("review-answer")).update(item.answer.content);
  byId("review-better").textContent = item.better_answers.map((text) => t("Suggested instead: {text}", { text })).join("\n");
  byId("review-tags").replaceChildren(byId("review-tags").firstElementChild, ...tagButtons([]));
  closeCorrection();
  byId("review-reason").focus({ preventScroll: true });
  byId("review-answer").scrollIntoView({ block: "nearest" });
}

function facts({ model, created, ratings, num_reviews: numReviews, mean_logprob: logprob }) {
  const count = (rating) => ratings.filter((entry) => entry.rating === rating).length;
  const tags = [...new Set(ratings.flatMap((entry) => entry.tags))].map((tag) => (TAG_LABELS.has(tag) ? t(TAG_LABELS.get(tag)) : tag.replaceAll("_", " ")));
  return [
    model,
    new Date(1000 * created).toLocaleString(language),
    ratings.length && t("{good} good, {bad} bad", { good: count("up"), bad: count("down") }),
    tags.join(t(", ")),
    numReviews && pluralize(numReviews, "1 review", "{number} reviews"),
    logprob !== null && t("mean log-probability {number}", { number: logprob.toFixed(2) }),
  ].filter(Boolean).join(" · ");
}

function message({ role, content }) {
  return make("li", { class: `review-message ${role}`, dir: "auto" }, make("b", {}, t("{speaker}: ", { speaker: SPEAKERS[role] ?? role })), content);
}

/** Send a verdict and show the next answer. If that cannot be loaded, the verdict is not sent again. */
async function decide(rating, correction) {
  const { current } = state;
  if (!current || state.isBusy) return;
  state.isBusy = true;
  try {
    const verdict = { answer: current.id, rating, correction, tags: pressedTags(byId("review-tags")), reviewer: reviewer() };
    const { id } = await api.addVerdict(verdict);
    state.last = { id, item: current };
    state.numDone += 1;
    byId("review-undo").disabled = false;
    showProgress();
  } catch (error) {
    showError(error.message, () => decide(rating, correction));
    return;
  } finally {
    state.isBusy = false;
  }
  await skip();
  loadAgreement().catch(() => {}); // the table shows the agreement before this verdict
}

/** Delete the last verdict and show its answer again. */
async function undo() {
  const { last, current } = state;
  if (!last || state.isBusy) return;
  state.isBusy = true;
  try {
    await api.deleteFeedback(last.id);
    if (current) state.queue.unshift(current);
    state.last = null;
    state.numDone -= 1;
    byId("review-undo").disabled = true;
    showProgress();
    show(last.item);
    showError("");
  } catch (error) {
    showError(error.message, undo);
  } finally {
    state.isBusy = false;
  }
}

async function skip() {
  if (!state.current || state.isBusy) return;
  state.isBusy = true;
  try {
    await next();
    showError("");
  } catch (error) {
    showError(error.message, skip);
  } finally {
    state.isBusy = false;
  }
}

function openCorrection() {
  if (!state.current) return;
  byId("review-correction-form").hidden = false;
  byId("review-actions").hidden = true;
  byId("review-correction").value = state.current.answer.content;
  byId("review-correction").focus();
}

function closeCorrection() {
  byId("review-correction-form").hidden = true;
  byId("review-actions").hidden = false;
}

function saveCorrection() {
  const text = byId("review-correction").value.trim();
  if (text && text !== state.current?.answer.content) decide("down", text);
}

function showProgress() {
  const hours = (performance.now() - state.startedAt) / 3_600_000;
  const values = { number: state.numDone, pace: Math.round(state.numDone / hours) };
  const text = state.numDone < 5 ? t("{number} reviewed", values) : t("{number} reviewed, {pace} per hour", values);
  byId("review-progress").textContent = state.numDone ? text : "";
}

async function loadAgreement() {
  const { data } = await api.reviewAgreement();
  byId("agreement").hidden = data.length === 0;
  byId("agreement-empty").hidden = data.length > 0;
  const rows = data.map(({ reviewers, num_answers: count, share, kappa }) =>
    make("tr", {},
      make("th", { scope: "row" }, reviewers.join(t(" and "))),
      make("td", {}, String(count)),
      make("td", {}, `${Math.round(100 * share)} %`),
      make("td", {}, kappa === null ? "–" : kappa.toFixed(2)),
    ),
  );
  byId("agreement").tBodies[0].replaceChildren(...rows);
}

function pressTag(digit) {
  byId("review-tags").querySelectorAll(".tag-button")[digit - 1]?.click();
}

function onKey(event) {
  const isTyping = event.target.matches("input, textarea");
  if (event.target.id === "review-correction") {
    if (event.key === "Escape") closeCorrection(), byId("review-correct").focus();
    else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) saveCorrection();
    else return;
  } else if (isTyping || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) {
    return;
  } else {
    const action = { g: () => decide("up"), b: () => decide("down"), c: openCorrection, s: skip, n: skip, u: undo }[event.key.toLowerCase()];
    if (action) action();
    else if (/^[1-9]$/.test(event.key)) pressTag(Number(event.key));
    else return;
  }
  event.preventDefault();
}

function changeReviewer() {
  storage.set("review-reviewer", byId("review-reviewer").value.trim());
  Object.assign(state, { queue: [], seen: new Set(), last: null });
  byId("review-undo").disabled = true;
  startPage(start);
}

async function start() {
  await next();
  await loadAgreement();
}

byId("review-reviewer").value = storage.get("review-reviewer") ?? "";
byId("review-reviewer").addEventListener("change", changeReviewer);
byId("review-good").addEventListener("click", () => decide("up"));
byId("review-bad").addEventListener("click", () => decide("down"));
byId("review-correct").addEventListener("click", openCorrection);
byId("review-skip").addEventListener("click", skip);
byId("review-undo").addEventListener("click", undo);
byId("review-cancel").addEventListener("click", closeCorrection);
byId("review-correction-form").addEventListener("submit", (event) => {
  event.preventDefault();
  saveCorrection();
});
document.addEventListener("keydown", onKey);
startPage(start);
