// A run over a list of prompts: both setups answer one after another; the next pair is generated meanwhile.

export class PromptRun {
  /**
   * @param prompts messages of each prompt.
   * @param createPair returns the pair for the messages of a prompt.
   */
  constructor(prompts, createPair) {
    Object.assign(this, { prompts, createPair });
    this.pairs = [];
    this.index = -1;
    this.controller = new AbortController();
  }

  get length() {
    return this.prompts.length;
  }

  /** The pair of the next prompt and the promise of its answers; null after the last one. */
  next() {
    this.index += 1;
    if (this.index >= this.length) return null;
    const started = this.#start(this.index);
    // Not before this one is complete: two pairs at the same time would make both slower.
    started.done.then(() => !this.controller.signal.aborted && this.index + 1 < this.length && this.#start(this.index + 1));
    return started;
  }

  end() {
    this.controller.abort();
  }

  /** Numbers of pairs by outcome: "a", "b", "equal", "both_bad" and "skipped". */
  counts() {
    const counts = { a: 0, b: 0, equal: 0, both_bad: 0, skipped: 0 };
    for (const { pair } of this.pairs.slice(0, this.index)) counts[pair.outcome ?? "skipped"] += 1;
    return counts;
  }

  /** The pairs with answers as JSON lines. */
  toLines() {
    const rows = this.pairs.filter(({ pair }) => pair.isComplete).map(({ pair }) => ({
      messages: pair.messages.a.filter(({ role }) => role !== "system"),
      ...Object.fromEntries(["a", "b"].map((name) => [name, { title: pair.setups[name].title, answer: pair.columns[name].text }])),
      outcome: pair.outcome,
    }));
    return rows.map((row) => `${JSON.stringify(row)}\n`).join("");
  }

  #start(index) {
    if (!this.pairs[index]) {
      const pair = this.createPair(this.prompts[index]);
      this.pairs[index] = { pair, done: pair.stream(this.controller.signal) };
    }
    return this.pairs[index];
  }
}
