"""A manager of runs for tests of routes and pages: runs change only when the test says so."""

from dataclasses import replace

from turnwise.core.errors import InvalidData, NotFound, RunConflict
from turnwise.core.runs import Run, RunModel, RunProgress

MODELS = [
    RunModel("tiny", "tiny: the small chat model", ("full", "lora")),
    RunModel("assistant", "assistant: an adapter", ("lora",)),
]
PLAN = {
    "examples": {"train": 179, "valid": 21, "test": 0}, "steps": 67, "tokens": 59004, "seconds": 125.0,
    "memory": 1.2e9, "parameters": 5_475_584, "trainable": 5_475_584,
}  # fmt: skip
REPORT = (
    "<!doctype html><html><head><style>p { color: green }</style></head><body><h1>Better</h1><p>…</p></body></html>"
)
QUESTION = "Is there <b>tea</b>?"


def training_events(steps=20, total=40):
    """Events of a training that has made some steps."""
    events = [{"event": "start", "step": 0, "total_steps": total}, {"event": "validation", "step": 0, "loss": 4.0}]
    events.append({"event": "samples", "step": 0, "samples": [sample("No.")]})
    events += [
        {"event": "step", "step": step, "loss": 4.0 - 2 * step / total, "steps_per_second": 2.0}
        for step in range(1, steps + 1)
    ]
    return [
        *events,
        {"event": "validation", "step": steps, "loss": 3.2},
        {"event": "samples", "step": steps, "samples": [sample("Yes, green tea.")]},
    ]


def sample(reply):
    return {"question": QUESTION, "reference": "Yes, all day.", "reply": reply}


class RunStandIn:
    """Keeps runs in memory.

    Attributes:
        runs: runs by id, in the order of their creation.
        events: events by id.
        started: options of all starts and plans.
        error: raised by plans and starts; None: they succeed.
    """

    can_serve = True

    def __init__(self):
        self.runs, self.events, self.started, self.error = {}, {}, [], None

    def add(self, **values):
        id = f"run-{len(self.runs)}"
        defaults = {"kind": "training", "title": "Tea", "state": "running", "created": 1_790_000_000.0}
        self.runs[id] = Run(id=id, **{**defaults, **values})
        self.events[id] = []
        return id

    def change(self, id, **values):
        self.runs[id] = replace(self.get(id), **values)

    def list(self):
        return list(self.runs.values())[::-1]

    def get(self, id):
        if id not in self.runs:
            raise NotFound(f"There is no run '{id}'.")
        return self.runs[id]

    def models(self):
        return MODELS

    def dataset_names(self):
        return ["chats.jsonl", "shop.jsonl"]

    def num_rated_answers(self):
        return 12

    def plan_training(self, options):
        self._record(options)
        return PLAN

    def start_training(self, options):
        self._record(options)
        return self.get(self.add(title=options.title or "chats"))

    def start_evaluation(self, options):
        self._record(options)
        return self.get(self.add(kind="evaluation", title=options.title or "tiny"))

    def _record(self, options):
        if self.error is not None:
            raise InvalidData(self.error)
        self.started.append(options)

    def stop(self, id):
        if not self.get(id).is_open:
            raise RunConflict("This run has ended already.")
        self.change(id, state="stopped")
        return self.get(id)

    def resume(self, id):
        self.change(id, state="waiting")
        return self.get(id)

    def delete(self, id):
        self.get(id)
        del self.runs[id]

    def progress(self, id, after):
        self.get(id)
        events = self.events[id]
        return RunProgress(events[after:], len(events))

    def end_position(self, id):
        return len(self.events[id]) if self.get(id).is_open else -1

    def report(self, id):
        if not self.get(id).has_report:
            raise NotFound("This run has no report.")
        return REPORT

    def serve(self, id):
        self.get(id)
        return "scripted"
