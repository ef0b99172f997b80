"""The share of replies that pass the gates of adversarial tuning, as a metric."""

from collections.abc import Sequence
from dataclasses import astuple, fields

from turnwise.core.messages import Conversation
from turnwise.evaluation.last_replies import last_reply_samples
from turnwise.evaluation.metric import FloatArray, Metric, statistics_array
from turnwise.evaluation.samples import Sample, SampleResult
from turnwise.training.rollouts.gates import GateReport, check_reply


class GateMetric(Metric):
    """Share of replies that pass all gates."""

    NAME = "gate_pass"
    SORT_ORDER = 25
    LABEL = "gate pass rate"
    DESCRIPTION = (
        "Share of replies that end before the token limit, without a repeated 4-gram, with 0.5 to 2 times the words of "
        "the human reply (or 3 words more or less), and with every number, time, address, slot and name of the human "
        "reply that the context mentions."
    )
    BETTER = "higher"
    RANGE = (0.0, 1.0)
    VALUE_FORMAT = ".1%"
    IS_BINARY = True

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """One sample per dialogue: its last reply."""
        del seed
        return last_reply_samples(dialogues)

    def statistics(self, samples: Sequence[Sample], results: Sequence[SampleResult]) -> FloatArray:
        """1 if all gates pass, 1, and 1 for each gate that passes."""
        rows = []
        for sample, result in zip(samples, results, strict=True):
            context = "\n".join(message.content for message in sample.generation_queries[0].history)
            (output,) = result.outputs
            report = check_reply(output.text, sample.reference, context, is_complete=output.finish_reason != "length")
            rows.append((float(report.is_passed), 1.0, *map(float, astuple(report))))
        return statistics_array(rows, 2 + len(fields(GateReport)))
