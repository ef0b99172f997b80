// One of several answers side by side: its heading, the text while it is streamed, and the figures below.

import { figures } from "./answer_figures.js";
import { make } from "./dom.js";
import { MarkdownView } from "./markdown.js";
import { RESTART } from "./running_answer.js";

export class AnswerColumn {
  /** `title`: the heading. With `hidesFigures`, the figures stay hidden until `showFigures`. */
  constructor(title, { hidesFigures = false } = {}) {
    this.text = "";
    this.id = null; // of the completion
    this.finish = null;
    this.error = null;
    this.frame = 0;
    this.heading = make("h2", { class: "column-title", dir: "auto" }, title);
    this.body = make("div", { class: "body", dir: "auto", "aria-live": "polite", "aria-busy": "true" });
    this.view = new MarkdownView(this.body);
    this.figures = make("p", { class: "figures", hidden: hidesFigures });
    this.problem = make("p", { class: "control-problem", role: "alert" });
    this.element = make("section", { class: "answer-column growing" }, this.heading, this.body, this.problem, this.figures);
  }

  /** Show the chunks of an answer as they come. Never throws: `error` and `finish` tell what happened. */
  async stream(chunks) {
    const progress = { at: 0, usage: null, finish: null, context: null };
    try {
      for await (const chunk of chunks) {
        if (chunk === RESTART) {
          this.text = "";
          progress.at = 0;
        }
        this.id = chunk.id ?? this.id;
        const choice = chunk.choices[0];
        if (choice?.delta.content) {
          progress.at ||= performance.now();
          this.text += choice.delta.content;
          this.frame ||= requestAnimationFrame(() => this.#paint({ isStreaming: true }));
        }
        progress.finish = choice?.finish_reason ?? progress.finish;
        progress.usage = chunk.usage ?? progress.usage;
      }
    } catch (error) {
      progress.finish = error.name === "AbortError" ? "cancelled" : "error";
      if (error.name !== "AbortError") this.error = error;
    }
    this.finish = progress.finish;
    this.#paint({ isStreaming: false });
    this.problem.textContent = this.error?.message ?? "";
    this.figures.textContent = figures(progress, performance.now());
    this.element.classList.remove("growing");
    this.body.setAttribute("aria-busy", "false");
  }

  showFigures() {
    this.figures.hidden = false;
  }

  #paint(options) {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.view.update(this.text, options);
  }
}
