"""Task success: replies that name every required slot value."""

from collections.abc import Mapping, Sequence

from turnwise.core.exchanges import last_reply
from turnwise.core.messages import Conversation
from turnwise.evaluation.last_replies import dialogue_id
from turnwise.evaluation.metric import FloatArray, Metric, statistics_array
from turnwise.evaluation.samples import GenerationQuery, Sample, SampleResult
from turnwise.text.word_tokens import split_words


class SuccessMetric(Metric):
    """Share of replies that contain every slot value of the reference reply."""

    SORT_ORDER = 10
    LABEL = "slot success"
    DESCRIPTION = (
        "Share of replies that contain every slot value of the reference reply. Needs `slots` (name: value or values) "
        "beside each dialogue. After MultiWOZ's Success (Budzianowski et al. 2018)."
    )
    BETTER = "higher"
    RANGE = (0.0, 1.0)
    COUNTS_FOR_VERDICT = True
    VALUE_FORMAT = ".1%"

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """One sample per dialogue whose last reply contains a slot value."""
        del seed
        samples = []
        for dialogue in dialogues:
            if (history_and_reply := last_reply(dialogue)) is None:
                continue
            history, reply = history_and_reply
            required = [value for value in _slot_values(dialogue.meta) if _contains(reply, value)]
            if required:
                query = GenerationQuery(history, tools=dialogue.tools)
                metadata = {"required": required}
                samples.append(Sample(dialogue_id(history), (query,), reference=reply, metadata=metadata))
        return samples

    def statistics(self, samples: Sequence[Sample], results: Sequence[SampleResult]) -> FloatArray:
        """1 if the reply contains all values, and 1."""
        return statistics_array(
            [
                (float(all(_contains(result.outputs[0].text, value) for value in sample.metadata["required"])), 1.0)
                for sample, result in zip(samples, results, strict=True)
            ]
        )


def _slot_values(meta: Mapping[str, object]) -> list[str]:
    slots = meta.get("slots")
    if not isinstance(slots, Mapping):
        return []
    values: list[str] = []
    for slot in slots.values():
        values.extend(str(value) for value in (slot if isinstance(slot, list) else [slot]) if _is_text(value))
    return values


def _is_text(value: object) -> bool:
    """Return whether a reply can contain the value. Null and booleans mark empty or requested slots."""
    return isinstance(value, str | int | float) and not isinstance(value, bool) and bool(str(value).strip())


def _contains(text: str, value: str) -> bool:
    """Return whether the value's words stand in the text one after the other."""
    words = split_words(value)
    return bool(words) and f" {' '.join(words)} " in f" {' '.join(split_words(text))} "
