// Promotion and roll-back of versions, each after a confirmation with a reason, which the history of versions keeps.

import * as api from "./api.js";
import { showDialog } from "./dialog.js";
import { byId, make } from "./dom.js";

const MAX_REASON_LENGTH = 500;

/** Let the version before the serving one serve again. Returns whether the user confirmed it. */
export async function rollBack({ id, model }) {
  const reason = reasonField();
  const isConfirmed = await showDialog({
    id: "rollback",
    text: `Roll ${id} back? The version that served before answers again within a second.`,
    fields: reason.elements,
    cancelLabel: "Cancel",
    confirmLabel: "Roll back",
    isDangerous: true,
  });
  if (isConfirmed) announce(await api.rollBackVersion(model, reason.input.value.trim()));
  return isConfirmed;
}

/** Let a version serve. Returns whether the user confirmed it. */
export async function promote({ id, model, number, needsForce, gateReason }) {
  const reason = reasonField();
  const force = make("input", { type: "checkbox", required: true });
  const gateNote = gateReason ? `: ${gateReason}` : ".";
  const warning = `It has not passed the gate${gateNote}`;
  const isConfirmed = await showDialog({
    id: "promote",
    text: `Let ${id} answer all requests to ${model}?`,
    fields: [
      ...(needsForce ? [make("p", { class: "error" }, warning), make("label", { class: "improve-force" }, force, " Promote it anyway")] : []),
      ...reason.elements,
    ],
    cancelLabel: "Cancel",
    confirmLabel: "Promote",
    isDangerous: needsForce,
  });
  if (isConfirmed) announce(await api.promoteVersion(model, number, { state: "serving", reason: reason.input.value.trim(), force: needsForce }));
  return isConfirmed;
}

function reasonField() {
  const input = make("input", { id: "reason-field", required: true, maxLength: MAX_REASON_LENGTH, pattern: ".*\\S.*", title: "a few words" });
  return { input, elements: [make("label", { for: "reason-field" }, "Reason, for the history"), input, make("p", { class: "dialog-hint" })] };
}

function announce({ id }) {
  byId("status").textContent = `${id} serves now.`;
}
