"""Does an answer say what had to be said? success: slots that the data names and the true reply has."""

from collections.abc import Mapping, Sequence

from turnwise.core.exchanges import last_reply
from turnwise.core.messages import Conversation
from turnwise.evaluation import metric
from turnwise.evaluation.last_replies import dialogue_id
from turnwise.evaluation.metric import FloatArray, statistics_array
from turnwise.evaluation.samples import GenerationQuery, Sample, SampleResult
from turnwise.evaluation.word_tokens import split_words


class SuccessMetric(metric.Metric):
    """The share of dialogues whose answer has every value that the true reply has."""

    SORT_ORDER = 10
    LABEL = "all slots said"
    DESCRIPTION = (
        "How often an answer names every slot value that the true one does, where the data has `slots` (name: value or "
        "values) beside a dialogue; after MultiWOZ's Success (Budzianowski et al. 2018)."
    )
    BETTER = "higher"
    RANGE = (0.0, 1.0)
    COUNTS_FOR_VERDICT = True
    VALUE_FORMAT = ".1%"

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """Dialogues with slots of which the last reply names one."""
        del seed
        found = []
        for dialogue in dialogues:
            parts = last_reply(dialogue)
            if parts is None:
                continue
            needed = [value for value in _values(dialogue.meta) if _says(parts[1], value)]
            if needed:
                metadata = {"needed": needed}
                found.append(
                    Sample(
                        dialogue_id(parts[0]),
                        (GenerationQuery(parts[0], tools=dialogue.tools),),
                        reference=parts[1],
                        metadata=metadata,
                    )
                )
        return found

    def statistics(self, items: Sequence[Sample], found: Sequence[SampleResult]) -> FloatArray:
        """Complete, asked."""
        return statistics_array(
            [
                (float(all(_says(each.outputs[0].text, value) for value in item.metadata["needed"])), 1.0)
                for item, each in zip(items, found, strict=True)
            ]
        )


def _values(meta: Mapping[str, object]) -> list[str]:
    slots = meta.get("slots")
    if not isinstance(slots, Mapping):
        return []
    found: list[str] = []
    for value in slots.values():
        found.extend(str(one) for one in (value if isinstance(value, list) else [value]) if _is_value(one))
    return found


def _is_value(found: object) -> bool:
    """Null, true and false say that a slot is empty or was asked for, and nobody says them."""
    return isinstance(found, str | int | float) and not isinstance(found, bool) and bool(str(found).strip())


def _says(text: str, value: str) -> bool:
    """Whether the words of the value stand in the text, one after the other."""
    wanted = split_words(value)
    return bool(wanted) and f" {' '.join(wanted)} " in f" {' '.join(split_words(text))} "
