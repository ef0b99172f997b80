// The hand-off page: the queue of customers, and the conversation with one of them.

import * as api from "./api.js";
import { byId, make } from "./dom.js";
import { keepClaim, claimOf, forgetClaim } from "./handoff_claims.js";
import { showMessages } from "./handoff_messages.js";
import { language, t } from "./i18n.js";
import { updateList } from "./keyed_list.js";
import { showError } from "./page.js";
import { storage } from "./storage.js";

const WAIT_SECONDS = 25;
const RETRY_MS = 3000;
const RENEW_MS = 15_000; // a claim that is not renewed for 45 seconds is lost
const STATES = {
  waiting: t("waiting"), claimed: t("with a person"), returned: t("given back"), closed: t("closed"),
  cancelled: t("left by the customer"), timed_out: t("nobody answered"),
};

const state = { list: [], queuePoll: null, detailPoll: null, shown: null, drafts: new Map(), known: null };

const languages = new Intl.DisplayNames([language], { type: "language" });
const dateOf = ({ created }) => new Date(1000 * created);

/** Id of the opened hand-off; empty if there is none. */
const selectedId = () => location.hash.slice(1);
const isMine = (handoff) => handoff.state === "claimed" && Boolean(claimOf(handoff.id));
const delay = (ms, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => clearTimeout(timer) ?? resolve());
  });

/** Read again and again, with a request that the server answers when something has changed. */
async function poll(read, show, signal) {
  let revision;
  let hasFailed = false;
  while (!signal.aborted) {
    try {
      const answer = await read(revision, signal);
      if (signal.aborted) return;
      revision = answer.revision;
      show(answer);
      if (hasFailed) showError("");
      hasFailed = false;
    } catch (error) {
      if (error.name === "AbortError" || signal.aborted) return;
      hasFailed = true;
      showError(error.message);
      if (error.status === 404 || error.status === 401) return;
      await delay(RETRY_MS, signal);
    } finally {
      document.body.dataset.ready = "true";
    }
  }
}

function watchQueue() {
  state.queuePoll?.abort();
  const controller = (state.queuePoll = new AbortController());
  const all = byId("handoff-all").checked;
  poll((after, signal) => api.handoffs({ all, after, wait: WAIT_SECONDS }, signal), showQueue, controller.signal);
}

function watchHandoff() {
  state.detailPoll?.abort();
  const id = selectedId();
  if (state.shown?.id !== id) byId("handoff").hidden = true; // its buttons act on the shown one
  state.shown = null;
  byId("handoff-claim-bar").hidden = true;
  byId("handoff-messages").replaceChildren();
  markSelected();
  if (!id) return;
  byId("handoff-text").value = state.drafts.get(id) ?? "";
  const controller = (state.detailPoll = new AbortController());
  poll((after, signal) => api.handoff(id, { after, wait: WAIT_SECONDS }, signal), showHandoff, controller.signal);
}

function showQueue({ data }) {
  const waiting = data.filter((handoff) => handoff.state === "waiting");
  announce(waiting);
  state.list = data;
  const count = waiting.length ? `(${waiting.length}) ` : "";
  document.title = `${count}${t("Hand-offs")} – Turnwise`;
  byId("queue-title").textContent = waiting.length ? t("Queue, {number} waiting", { number: waiting.length }) : t("Queue");
  byId("queue-empty").hidden = data.length > 0;
  updateList(byId("queue"), data, ({ id }) => id, createEntry, updateEntry);
  markSelected();
}

/** Tell screen readers about customers who have joined the queue. */
function announce(waiting) {
  const ids = new Set(waiting.map(({ id }) => id));
  const isNew = state.known && [...ids].some((id) => !state.known.has(id));
  if (isNew) byId("status").textContent = t("A customer waits for a person. {number} waiting.", { number: ids.size });
  state.known = ids;
}

function createEntry({ id }) {
  return make("li", { class: "queue-entry" }, make("a", { href: `#${id}` }, make("span", { class: "queue-reason", dir: "auto" }), make("span", { class: "handoff-note" })));
}

function updateEntry(row, handoff) {
  row.className = `queue-entry is-${handoff.state}`;
  const [reason, note] = row.querySelectorAll("span");
  reason.textContent = handoff.summary.split("\n")[0] || handoff.reason || t("A customer asks for a person");
  const person = handoff.state === "claimed" ? t(" ({name})", { name: handoff.agent }) : "";
  note.textContent = `${STATES[handoff.state]}${person} · ${dateOf(handoff).toLocaleTimeString(language)}`;
}

function markSelected() {
  for (const link of document.querySelectorAll("#queue a")) {
    if (link.hash.slice(1) === selectedId()) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

function showHandoff(handoff) {
  if (handoff.id !== selectedId()) return;
  const isFirst = state.shown === null;
  state.shown = handoff;
  byId("handoff").hidden = false;
  if (handoff.state !== "claimed") forgetClaim(handoff.id);
  byId("handoff-title").textContent = t("Customer of {time}", { time: dateOf(handoff).toLocaleString(language) });
  byId("handoff-state").textContent = [STATES[handoff.state], handoff.agent, handoff.reason, languageName(handoff.language)].filter(Boolean).join(" · ");
  byId("handoff-summary").textContent = handoff.summary;
  byId("handoff-attempts").replaceChildren(...handoff.attempts.map((attempt) => make("li", { dir: "auto" }, attempt)));
  byId("handoff-facts").hidden = !handoff.summary && handoff.attempts.length === 0;
  showMessages(byId("handoff-messages"), handoff.messages);
  const mine = isMine(handoff);
  const hadFocus = byId("handoff-form").contains(document.activeElement);
  byId("handoff-form").hidden = !mine;
  byId("handoff-claim-bar").hidden = handoff.state !== "waiting";
  if (isFirst || (hadFocus && !mine)) byId(mine ? "handoff-text" : "handoff-title").focus();
}

function languageName(code) {
  try {
    return languages.of(code);
  } catch {
    return code; // the server takes any text
  }
}

/** Do something with the opened hand-off, and show the error if it fails. */
async function act(action) {
  const { shown } = state;
  if (!shown) return;
  try {
    await action(shown.id, claimOf(shown.id));
    showError("");
  } catch (error) {
    if (error.status === 409) forgetClaim(shown.id);
    showError(error.message);
    watchHandoff();
  }
}

function claim() {
  const agent = byId("handoff-agent").value.trim();
  if (!agent) {
    byId("handoff-agent").focus();
    showError(t("Enter your name first. Customers see it."));
    return;
  }
  storage.set("handoff-agent", agent);
  act(async (id) => {
    keepClaim(id, (await api.claimHandoff(id, agent)).claim);
    watchHandoff();
  });
}

const send = () =>
  act(async (id, secret) => {
    const text = byId("handoff-text").value.trim();
    if (!text) return;
    await api.sendHandoffMessage(id, secret, text);
    state.drafts.delete(id);
    if (selectedId() === id) byId("handoff-text").value = "";
    byId("handoff-text").focus();
  });

const end = (kind) =>
  act(async (id, secret) => {
    await api.endHandoff(id, secret, kind);
    forgetClaim(id);
    byId("status").textContent = kind === "return" ? t("The assistant answers again.") : t("The request is closed.");
  });

/** Keep the claims of this tab. */
async function renew() {
  for (const { id, state: current } of state.list) {
    const secret = claimOf(id);
    if (!secret || current !== "claimed") continue;
    await api.renewHandoff(id, secret).catch((error) => error.status === 409 && forgetClaim(id));
  }
}

byId("handoff-agent").value = storage.get("handoff-agent") ?? "";
byId("handoff-all").addEventListener("change", watchQueue);
byId("handoff-claim").addEventListener("click", claim);
byId("handoff-return").addEventListener("click", () => end("return"));
byId("handoff-close").addEventListener("click", () => end("close"));
byId("handoff-text").addEventListener("input", () => state.drafts.set(selectedId(), byId("handoff-text").value));
byId("handoff-text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send();
});
byId("handoff-form").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
addEventListener("hashchange", watchHandoff);
setInterval(renew, RENEW_MS);
watchQueue();
watchHandoff();
