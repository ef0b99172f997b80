"""Hooks for tests: one that does nothing, and one that ends a run."""


class Quiet:
    """Watches and does nothing."""

    def start(self, *, total_steps, step):
        pass

    def step(self, report):
        pass

    def validation(self, report):
        pass

    def end(self):
        pass


class Killing(Quiet):
    """Ends a run after a step, before anything of it is saved."""

    def __init__(self, at):
        self.at = at

    def step(self, report):
        if report.step == self.at:
            raise RuntimeError("killed")
