"""Hooks for tests: one that records events, and one that ends a run."""

from turnwise.training.hooks import TrainerHook


class RecordingHook(TrainerHook):
    """Records what it receives, one list per event."""

    def __init__(self):
        self.num_rows = 0
        self.replay, self.data, self.references, self.preflights, self.prompt_losses = [], [], [], [], []

    def on_row(self):
        self.num_rows += 1

    def on_replay(self, count, total):
        self.replay.append((count, total))

    def on_data(self, data):
        self.data.append(data)

    def on_reference(self, count, total):
        self.references.append((count, total))

    def on_preflight(self, recipe, report):
        self.preflights.append((recipe, report))

    def on_prompt_scored(self, number, loss):
        self.prompt_losses.append(loss)


class KillingHook(TrainerHook):
    """Ends a run after the step `at`, before anything of it is saved."""

    def __init__(self, at):
        self.at = at

    def on_step_end(self, report):
        if report.step == self.at:
            raise RuntimeError("killed")
