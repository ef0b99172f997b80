// The page of API keys: the list with the usage of each, and forms that create and revoke keys.

import * as api from "./api.js";
import { byId, make } from "./dom.js";
import { t } from "./i18n.js";
import { createKey, revokeKey } from "./key_actions.js";
import { replaceParts } from "./keyed_list.js";
import { formatNumber, timeElement } from "./monitor_format.js";
import { numberTable } from "./number_table.js";
import { act, pollPage } from "./polled_page.js";
import { showUsage, sums, titles } from "./usage_chart.js";

const COLLECTED = { off: "Nothing", metadata: "Ratings", full: "Also texts" };
let usage = null;
let isRequired = true;
let shown = ""; // what the list shows

const read = (signal) => Promise.all([api.keys(signal), api.usage(byId("usage-days").value, signal)]);

function show([{ data: keys, required }, counts]) {
  [isRequired, usage] = [required, counts];
  const admins = keys.filter(({ role }) => role === "admin");
  byId("keys-open").hidden = isRequired;
  byId("new-key-role").disabled = !admins.length;
  if (!admins.length) byId("new-key-role").value = "admin";
  const content = JSON.stringify([keys, usage]);
  if (content === shown) return; // the focus and open lists stay
  shown = content;
  const revoked = new Set(usage.data.map(({ key }) => key).filter((name) => keys.every((key) => key.name !== name)));
  const names = [...keys.map(({ name }) => name), ...revoked];
  const rows = [...keys.map((key) => [...start(key), ...rest(key, admins)]), ...[...revoked].map((name) => start({ name }))];
  replaceParts(byId("keys-list"), rows.length
    ? numberTable([t("Name"), t("Role"), ...titles(), ...["Last used", "Created", "Limits", "Collected", "Begins with", "Revoke"].map((title) => t(title))], rows)
    : t("There are no keys yet."));
  const select = byId("usage-key");
  const chosen = select.value;
  select.replaceChildren(make("option", { value: "" }, t("All keys")), ...names.map((name) => make("option", {}, name)));
  select.value = names.includes(chosen) ? chosen : "";
  showUsage(usage);
}

const start = ({ name, role, is_current: isCurrent }) => [
  isCurrent ? t("{name} (this tab)", { name }) : name,
  t(role ?? "revoked"),
  ...sums(usage.data.filter(({ key }) => key === name)),
];

function rest(key, admins) {
  const { last_used: used, created, requests_per_minute: rate, max_concurrent: concurrent, collect, prefix, name } = key;
  const limits = [rate && t("{number} per minute", { number: formatNumber(rate) }), concurrent && t("{number} at once", { number: concurrent })];
  const revoke = () => act(() => revokeKey(key), refresh);
  const button = make("button", { type: "button", class: "quiet-button", "aria-label": t("Revoke {name}", { name }), onclick: revoke }, t("Revoke"));
  const isLast = admins.length === 1 && admins[0] === key;
  return [
    used === null ? t("never") : timeElement(used), new Date(1000 * created).toISOString().slice(0, 10), limits.filter(Boolean).join(" · ") || "–",
    t(COLLECTED[collect]), `${prefix}…`, isLast ? t("the only admin") : button,
  ];
}

async function submit(form) {
  const body = Object.fromEntries([...new FormData(form)].filter(([, value]) => value));
  for (const name of ["requests_per_minute", "max_concurrent"]) if (body[name]) body[name] = Number(body[name]);
  const isCreated = await createKey({ role: "admin", ...body }, !isRequired); // a disabled field is not in the form
  if (isCreated) form.reset();
  return isCreated;
}

byId("new-key").addEventListener("submit", (event) => {
  event.preventDefault();
  act(() => submit(event.target), refresh);
});
for (const name of ["usage-key", "usage-measure"]) byId(name).addEventListener("change", () => usage && showUsage(usage));
const refresh = pollPage(read, show);
byId("usage-days").addEventListener("change", refresh);
