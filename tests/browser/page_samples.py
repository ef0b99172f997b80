"""A server with all pages for special tasks, and Chinese texts of people, models and labels on each of them."""

from contextlib import contextmanager
from dataclasses import replace

from improvement_samples import write_cycle
from monitor_stand_ins import open_test_pipeline, text
from turnwise.app.version_serving.version_supervisor import VersionSupervisor
from turnwise.chat.classification_service import StepwiseClassificationService
from turnwise.core.classification import LabelScore, Span, TaggedText, TextLabels
from turnwise.core.classification_service import ClassificationResult, TaggingResult
from turnwise.core.feedback import AnswerReference, NewFeedback
from turnwise.core.handoffs import HandoffRequest
from turnwise.core.messages import Message
from turnwise.core.model_versions import NewVersion
from turnwise.improve.cycle_reader import CycleReader
from turnwise.server.app import create_app
from turnwise.store import open_monitor_reader, open_monitor_store, open_store
from turnwise.testing import serve_in_thread
from version_stand_ins import BreakableRegistry, UncheckedControl, open_scripted_version

MODEL = "scripted"


class SampleClassifier:
    """Labels texts of at most five characters, and tags the word 小明 (implements `StepwiseClassifier`)."""

    def classify_in_steps(self, request):
        yield
        is_long = len(request.inputs[0]) > 5
        scores = (LabelScore("平静", 0.75), LabelScore("生气", 0.25))
        return ClassificationResult([TextLabels(() if is_long else ("平静",), scores, is_long)], 1)

    def tag_in_steps(self, request):
        yield
        start = request.inputs[0].find("小明")
        spans = [Span(start, start + 2, "小明", "人名", 0.5)] if start >= 0 else []
        return TaggingResult([TaggedText(request.inputs[0], spans)], 1)


def sample_classifiers():
    tasks = {"情绪": "sequence_classification", "人名": "token_classification"}
    return {
        name: StepwiseClassificationService(name, 0, task, ("平静", "生气"), False, 8, SampleClassifier())
        for name, task in tasks.items()
    }


def write_monitor(url):
    """A surge that is over and one that lasts, each with a copy."""
    store = open_monitor_store(url)
    pipeline = open_test_pipeline(store)
    for start, topic in ((0, "台灯"), (600, "自行车")):
        sad = {"topics": (topic,), "sentiment": "bearish"}
        surge = [
            replace(text(start + 8 * index, f"卖掉{topic} {start} {index}", **sad), source="论坛") for index in range(6)
        ]
        pipeline.process([*surge, replace(surge[0], id=f"{start}", time=surge[0].time + 50)])
        pipeline.process([text(start + 120, "安静", topics=(topic,))] if start == 0 else [])
    pipeline.process([text(700, "以后", topics=("台灯",))])
    store.close()


def write_answers(store):
    """A customer who waits for a person, and answers with ratings and verdicts of two reviewers."""
    id = store.create(title="", model=MODEL).id
    store.append(id, [Message("user", "台灯坏了。"), Message("assistant", "我不知道。")])
    store.handoffs.open(HandoffRequest(id, "没有答案", "“台灯坏了。”", ("查找文档", "反问"), "zh"))
    for question in ("你好吗？", "几点开门？", "在哪里？"):
        id = store.create(title="", model=MODEL).id
        store.append(id, [Message("user", question)], {"consent": "full"})
        meta = {"finish": "stop", "model": MODEL, "consent": "full", "mean_logprob": -2.0}
        (answer,) = store.append(id, [Message("assistant", "好的，没问题。")], meta)
        reference = AnswerReference("message", answer)
        store.feedback.add(
            reference, NewFeedback(-1, tags=("too_long", "wrong", "constructor"), correction="不好。", user="小红")
        )
    for name in ("小明", "小刚"):
        store.feedback.add(reference, NewFeedback(1, user=name, role="reviewer"))


def write_versions():
    """A version that served, one that serves, one that the gate refused, and a canary."""
    registry = BreakableRegistry()
    for number, has_passed in ((1, False), (2, True), (3, False), (4, True)):
        scorecard = {"gate": {"reason": "新版本更差。"}} if number > 1 else {}
        new = NewVersion(MODEL, "tiny", f"digest-{number}", scorecard=scorecard, has_passed_gate=has_passed)
        registry.add(new, reason="已添加。")
    registry.change_state(MODEL, 2, "serving", actor="person", reason="更好。")
    registry.change_state(MODEL, 4, "canary", actor="person", reason="试用。", share=0.1)
    return registry


@contextmanager
def serve_all_pages(folder):
    """Serve the pages with data in a folder; the value is the URL."""
    url = f"sqlite:///{folder / 'monitor.db'}"
    write_monitor(url)
    for values in ({"version": 2}, {"outcome": "refused", "version": 3}, {"outcome": None, "has_report": False}):
        write_cycle(folder, MODEL, **values)
    store = open_store(f"sqlite:///{folder / 'chats.db'}")
    write_answers(store)
    registry = write_versions()
    supervisor = VersionSupervisor(registry, MODEL, open_scripted_version(store), flush_seconds=0)
    app = create_app(
        {MODEL: supervisor.service}, default=MODEL, classifiers=sample_classifiers(), monitor=open_monitor_reader(url),
        version_control=UncheckedControl(registry), improvement=CycleReader(store.collected_answers, folder),
        has_handoffs=True,
    )  # fmt: skip
    with serve_in_thread(app) as address:
        yield address
    supervisor._pool.close()
    store.close()
