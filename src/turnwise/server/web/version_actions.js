// Changes of the states of versions, each after a confirmation that says what will happen, with a reason for the history.

import * as api from "./api.js";
import { showDialog } from "./dialog.js";
import { byId, make } from "./dom.js";
import { t } from "./i18n.js";

/** The versions of a model that serve, are a canary, and that a roll-back would let serve; undefined: none. */
export function routing(versions, target) {
  const inState = (name) => versions.find(({ state }) => state === name)?.id;
  return { serving: inState("serving"), canary: inState("canary"), target };
}

/** Let the version before the serving one serve again. This function and the next ones return whether the user confirmed it. */
export const rollBack = ({ id, model }, { target }) =>
  confirm("rollback", t("Roll back"), [t("{target} answers again within a second. {id} is retired.", { id, target })], [], true, (reason) =>
    api.rollBackVersion(model, reason));

/** Let a version serve. */
export const promote = (version, { serving, canary }) =>
  change(version, "serving", "promote", t("Promote"), [
    t("{id} answers all requests to {model} within a second.", version),
    serving && t("{serving} is retired; a roll-back goes back to it.", { serving }),
    endOf(canary, version),
  ]);

/** Let a version answer a share of the conversations, or change its share. */
export function startCanary(version, { serving, canary }) {
  const share = make("input", { id: "share-field", type: "number", min: 1, max: 99, required: true, value: Math.round(100 * version.share) || 10 });
  const effects = [t("{id} answers a share of the conversations, {serving} the others. A canary that is clearly worse ends automatically.", { ...version, serving }), endOf(canary, version)];
  const fields = [make("label", { for: "share-field" }, t("Share in percent")), share];
  return change(version, "canary", "canary", t("Start"), effects, fields, () => share.valueAsNumber / 100);
}

/** Take a version out of use. */
export const retire = ({ id, model, number, state }, { serving }) => {
  const effects = [state === "canary" && t("{serving} answers all conversations.", { serving }), t("{id} is retired. It can be promoted later.", { id })];
  return confirm("retire", t("Retire"), effects, [], true, (reason) => api.promoteVersion(model, number, { state: "retired", reason }));
};

const endOf = (canary, { id }) => canary && canary !== id && t("The canary {canary} ends.", { canary });

/** Change the state of a version. One that has not passed the gate needs a second confirmation. */
function change({ model, number, needs_force: force, scorecard }, state, name, label, effects, fields = [], share = () => undefined) {
  const reason = scorecard.gate?.reason;
  const override = [
    make("p", { class: "error", dir: "auto" }, reason ? t("It has not passed the gate: {reason}", { reason }) : t("It has not passed the gate.")),
    make("label", { class: "check" }, make("input", { type: "checkbox", required: true }), ` ${t("Promote it anyway")}`),
  ];
  return confirm(name, label, effects, [...(force ? override : []), ...fields], force, (reason) =>
    api.promoteVersion(model, number, { state, reason, force, share: share() }));
}

async function confirm(id, confirmLabel, effects, fields, isDangerous, run) {
  const input = make("input", { id: "reason-field", required: true, maxLength: 500, pattern: ".*\\S.*", title: t("a few words"), dir: "auto" });
  const isConfirmed = await showDialog({
    id, text: effects.filter(Boolean).join(" "), confirmLabel, isDangerous, cancelLabel: t("Cancel"),
    fields: [...fields, make("label", { for: "reason-field" }, t("Reason, for the history")), input, make("p", { class: "dialog-hint" })],
  });
  if (!isConfirmed) return false;
  const changed = await run(input.value.trim());
  byId("status").textContent = `${changed.id}: ${t(changed.state)}`;
  return true;
}
