"""Cycles of improvement as their journals on disk, for tests of their reader, their routes and their page."""

from turnwise.core.files import atomic_write
from turnwise.improve.cycle_folder import EXAMPLES_FILE, CycleFolders

REPORT = (
    "<!doctype html><html><head><style>p { color: green }</style></head>"
    "<body><main><h1>The new version is better</h1><p>chrF</p></main></body></html>"
)
SELECTION = {
    "num_answers": 14, "num_new": 12, "num_examples": 10, "examples_by_kind": {"correction": 10},
    "num_contributors": 4, "dropped": {"duplicate": 2}, "masked": {"email": 1},
}  # fmt: skip


def write_cycle(
    root, model, *, outcome="promoted", reason="It improved.", version=None, started=1e9, chrf=(31.0, 28.0),
    has_report=True,
):  # fmt: skip
    """Write the next cycle of a model; outcome None: it was interrupted after the selection. Returns its folder."""
    journal = CycleFolders(model, root).create(model=model, started=started, since=0.0, serving=1, first=1)
    journal.run("select", lambda: SELECTION)
    atomic_write(journal.folder / EXAMPLES_FILE, "")
    if outcome is not None:
        figures = {"chrf": {"label": "chrF", "value": chrf[0], "base_value": chrf[1], "num_dialogues": 10}}
        journal.run("train", dict)
        journal.run("compare", lambda: {"figures": figures})
        journal.complete(outcome, reason, version=version)
    if has_report:
        atomic_write(journal.folder / "report" / "report.html", REPORT)
    return journal.folder
