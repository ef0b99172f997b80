// Promotion and roll-back of versions, each after a confirmation with a reason, which the history of versions keeps.

import * as api from "./api.js";
import { showDialog } from "./dialog.js";
import { byId, make } from "./dom.js";
import { t } from "./i18n.js";

const MAX_REASON_LENGTH = 500;

/** Let the version before the serving one serve again. Returns whether the user confirmed it. */
export async function rollBack({ id, model }) {
  const reason = reasonField();
  const isConfirmed = await showDialog({
    id: "rollback",
    text: t("Roll {id} back? The version that served before answers again within a second.", { id }),
    fields: reason.elements,
    cancelLabel: t("Cancel"),
    confirmLabel: t("Roll back"),
    isDangerous: true,
  });
  if (isConfirmed) announce(await api.rollBackVersion(model, reason.input.value.trim()));
  return isConfirmed;
}

/** Let a version serve. Returns whether the user confirmed it. */
export async function promote({ id, model, number, needsForce, gateReason }) {
  const reason = reasonField();
  const force = make("input", { type: "checkbox", required: true });
  const warning = gateReason ? t("It has not passed the gate: {reason}", { reason: gateReason }) : t("It has not passed the gate.");
  const isConfirmed = await showDialog({
    id: "promote",
    text: t("Let {id} answer all requests to {model}?", { id, model }),
    fields: [
      ...(needsForce ? [make("p", { class: "error" }, warning), make("label", { class: "improve-force" }, force, ` ${t("Promote it anyway")}`)] : []),
      ...reason.elements,
    ],
    cancelLabel: t("Cancel"),
    confirmLabel: t("Promote"),
    isDangerous: needsForce,
  });
  if (isConfirmed) announce(await api.promoteVersion(model, number, { state: "serving", reason: reason.input.value.trim(), force: needsForce }));
  return isConfirmed;
}

function reasonField() {
  const input = make("input", { id: "reason-field", required: true, maxLength: MAX_REASON_LENGTH, pattern: ".*\\S.*", title: t("a few words") });
  return { input, elements: [make("label", { for: "reason-field" }, t("Reason, for the history")), input, make("p", { class: "dialog-hint" })] };
}

function announce({ id }) {
  byId("status").textContent = t("{id} serves now.", { id });
}
