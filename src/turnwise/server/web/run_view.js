// One run: its state, what it has done so far, and what can be done with it.

import * as api from "./run_api.js";
import { byId, make } from "./dom.js";
import { formatFigure } from "./figure_line.js";
import { t } from "./i18n.js";
import { timeElement } from "./monitor_format.js";
import { applyEvent, newProgress, secondsLeft } from "./run_events.js";
import { curves, sampleEntries } from "./run_figures.js";

const WAIT_SECONDS = 20;
const PAUSE_MS = 500; // between two drawings
const isOpen = ({ state }) => state === "waiting" || state === "running";
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

export function formatDuration(seconds) {
  if (seconds < 90) return t("{count} s", { count: Math.round(seconds) });
  return seconds < 5400 ? t("{count} min", { count: Math.round(seconds / 60) }) : t("{count} h", { count: (seconds / 3600).toFixed(1) });
}

export class RunView {
  /** `act(name, run)` is called for a button. */
  constructor(act, canServe) {
    this.canServe = canServe;
    this.details = byId("run-pattern").firstElementChild.cloneNode(true);
    this.element = make("li", { class: "panel run-form" }, this.details);
    Object.assign(this, { progress: newProgress(), position: 0 });
    this.details.addEventListener("toggle", () => (this.details.open ? this.follow() : this.controller?.abort()));
    for (const button of this.#all("button")) button.onclick = () => act(button.name, this.run);
  }

  #all = (selector) => this.details.querySelectorAll(selector);
  #one = (selector) => this.details.querySelector(selector);

  /** Show a new state of the run. */
  update(run) {
    const wasOver = this.run && !isOpen(this.run);
    this.run = run;
    this.draw();
    if (wasOver && isOpen(run) && this.details.open) this.follow();
  }

  /** Follow the run until it has ended or is closed. */
  async follow() {
    this.controller?.abort();
    const { signal } = (this.controller = new AbortController());
    while (!signal.aborted) {
      try {
        const { run, data, position } = await api.progress(this.run.id, this.position, WAIT_SECONDS, signal);
        for (const event of data) applyEvent(this.progress, event);
        const isOver = !isOpen(run) && position === this.position;
        Object.assign(this, { run, position });
        this.draw();
        if (isOver) return;
        await pause(PAUSE_MS);
      } catch (error) {
        if (signal.aborted || [401, 403, 404].includes(error.status)) return; // a deleted run, or a key that does not fit
        await pause(6 * PAUSE_MS);
      }
    }
  }

  draw() {
    const { run, progress } = this;
    const { result, samples, model_folder: folder } = run;
    this.#one("summary").replaceChildren(
      make("b", { dir: "auto" }, run.title),
      make("span", { class: `badge is-${run.state}` }, t(run.stopping ? "stopping" : run.state)),
      make("span", { class: "fine-print" }, t(run.kind), " · ", timeElement(run.created), run.started && run.ended ? ` · ${formatDuration(run.ended - run.started)}` : ""));
    const [text, done, total] = this.#now();
    this.#one(".run-now").textContent = text;
    Object.assign(this.#one("progress"), { hidden: !total, max: total || 1, value: done ?? 0 });
    const losses = [["valid", t("Validation loss")], ["test", t("Test loss")]].map(([name, title]) => [title, result[name + "_before"], result[name + "_after"]])
      .filter(([, , after]) => after !== undefined).map(([title, before, after]) => `${title} ${formatFigure(before)} → ${formatFigure(after)}`);
    if (result.verdict) losses.push(`${t("Comparison:")} ${t(result.verdict)}`, ...(result.reasons ?? []));
    this.#one(".run-result").textContent = losses.join(" · ");
    this.#one(".run-command").hidden = !folder;
    this.#one("code").textContent = `turnwise serve ${folder}`;
    this.#one(".run-curves").replaceChildren(...curves(progress, isOpen(run)));
    const live = progress.samples.map(({ question, reference, reply }, index) => ({ question, before: progress.first[index].reply, after: reply, reply: reference }));
    this.#one(".run-samples").hidden = !samples.length && !live.length;
    this.#one(".run-samples ul").replaceChildren(...(samples.length ? sampleEntries(samples, t("After")) : sampleEntries(live, t("After step {step}", { step: progress.samplesStep }))));
    const shown = { chat: folder && this.canServe, report: run.has_report, resume: run.state === "stopped" || run.state === "failed", stop: isOpen(run), remove: !isOpen(run) };
    for (const button of this.#all("button")) {
      if (button === document.activeElement && !shown[button.name]) this.#one("summary").focus({ preventScroll: true });
      button.hidden = !shown[button.name];
    }
  }

  /** What happens now, and how much of it is done. */
  #now() {
    const { run, progress } = this;
    const { phase, total, step, losses } = progress;
    if (run.state === "waiting") return [t("It starts when the runs before it have ended.")];
    if (run.state !== "running") return [run.reason ?? ""];
    if (run.stopping) return [t("It writes a checkpoint and stops.")];
    if (phase) return [t(phase.system ? "Comparing: {system}, {done} of {total}" : "Preparing: {done} of {total}", phase), phase.done, phase.total];
    if (!total) return [t("Reading the data and loading the model.")];
    const rest = losses.length ? t(" · loss {loss} · about {duration} left", { loss: formatFigure(losses.at(-1).value), duration: formatDuration(secondsLeft(progress)) }) : "";
    return [t("Step {step} of {total}", progress) + rest, step, total];
  }
}
