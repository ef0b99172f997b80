// The alternatives at one place: bars before and after the sampling stages, and the same figures as a table.

import { make } from "./dom.js";
import { t } from "./i18n.js";
import { percent, tokenLabel } from "./token_view.js";

const MAX_BARS = 12;

// The names of parameters are not translated: requests use them.
const REASONS = {
  temperature: "A temperature of 0 takes only the most likely token.",
  top_k: "It is not among the {value} most likely tokens.",
  top_p: "The tokens that are more likely already have a total probability of {value}.",
  min_p: "It is less than {value} times as likely as the most likely token.",
  typical_p: "Tokens closer to the expected surprise already have a total probability of {value}.",
  epsilon_cutoff: "It is less likely than {value}.",
  eta_cutoff: "It is less likely than the entropy-dependent threshold of eta {value}.",
  top_n_sigma: "Its logit is more than {value} standard deviations below the largest one.",
  no_repeat_ngram_size: "It would repeat {value} tokens in a row that occur before.",
  min_tokens: "The answer may not end before it has {value} tokens.",
  grammar: "The format of the answer does not allow it here.",
  bad_words: "It would complete one of the bad words.",
};

/** Why a stage removed a token: in the reader's language, or the sentence of the server. */
export const reasonText = (name, value, sentence = "") => (name in REASONS ? t(REASONS[name], { value }) : sentence);

const labelOf = (token) => (token.ends_answer ? t("end of the answer") : tokenLabel(token));

/**
 * The bars of the most likely tokens.
 *
 * @param tokens those of the distribution.
 * @param after for each token its probability after the stages, `removedBy` and `reason`.
 * @param chosen id of the token that is chosen.
 * @param choose called with a token.
 */
export function bars(tokens, after, chosen, choose) {
  const shown = tokens.map((token, index) => ({ token, index })).filter(({ token }, i) => i < MAX_BARS || token.id === chosen);
  const explained = new Set(); // a reason is visible once per stage, and at the chosen token
  return make("ul", { class: "token-bars" }, ...shown.map(({ token, index }) => {
    const { removedBy } = after[index];
    const isChosen = token.id === chosen;
    const isExplained = isChosen || !explained.has(removedBy);
    explained.add(removedBy);
    return row(token, after[index], { isChosen, isExplained }, choose);
  }));
}

function row(token, { probability, reason, removedBy }, { isChosen, isExplained }, choose) {
  const text = labelOf(token);
  const figures = `${percent(token.probability)} → ${removedBy ? t("removed by {stage}", { stage: removedBy }) : percent(probability)}`;
  return make("li", {},
    make("button", {
      type: "button", class: "token-choice", title: reason, "aria-pressed": String(isChosen), onclick: () => choose(token),
      "aria-label": t("{token}: {before} by the model, {after} after sampling", {
        token: text, before: percent(token.probability), after: removedBy ? t("removed by {stage}", { stage: removedBy }) : percent(probability),
      }) + (reason ? ` ${reason}` : ""),
    },
      make("span", { class: "token-name", dir: "auto" }, text),
      make("span", { class: "token-figures" }, figures),
      bar("is-before", token.probability),
      bar("is-after", removedBy ? 0 : probability),
      ...(reason && isExplained ? [make("span", { class: "token-reason" }, reason)] : []),
    ),
  );
}

function bar(kind, probability) {
  const filled = make("span", { class: `token-bar ${kind}` });
  filled.style.width = `${Math.max(probability * 100, probability > 0 ? 0.5 : 0)}%`;
  return make("span", { class: "bar-track" }, filled);
}

/** All tokens and all stages of the server's distribution as a table. */
export function table({ stages, tokens, rest }) {
  const head = [t("Token"), "id", t("Rank"), t("Model"), ...stages.map(({ name }) => name), t("Removed by")];
  const cells = (token) => [
    token.id, token.rank, percent(token.probability), ...token.probabilities.map(percent),
    token.removed_by ? `${token.removed_by}: ${reasonText(token.removed_by, valueOf(stages, token.removed_by), token.reason)}` : "",
  ];
  const others = make("tr", {}, make("th", { scope: "row" }, t("All others")), ...["", "", percent(rest), ...stages.map((stage) => percent(stage.rest)), ""].map(cell));
  return make("div", { class: "token-table", tabIndex: 0, role: "region", "aria-label": t("Table of the alternatives") },
    make("table", {},
      make("caption", { class: "visually-hidden" }, t("Probability of each token by the model and after each stage")),
      make("thead", {}, make("tr", {}, ...head.map((name) => make("th", { scope: "col" }, name)))),
      make("tbody", {},
        ...tokens.map((token) => make("tr", {}, make("th", { scope: "row", dir: "auto" }, labelOf(token)), ...cells(token).map(cell))),
        others,
      ),
    ),
  );
}

export const valueOf = (stages, name) => stages.find((stage) => stage.name === name)?.value;

const cell = (text) => make("td", {}, String(text));
