"""Tag schemes are recognised and converted to IOB2 without changing the entities."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.core.tag_schemes import Entity, detect_scheme, entities, split_tag, to_iob2

LABELS = ["PER", "LOC", "ORG-NAM"]


@st.composite
def tagged_entities(draw):
    """The length of a sentence, and entities in it that do not overlap."""
    found, position = [], 0
    for _ in range(draw(st.integers(0, 4))):
        start = position + draw(st.integers(0, 2))
        end = start + draw(st.integers(1, 3))
        found.append(Entity(start, end, draw(st.sampled_from(LABELS))))
        position = end
    return position + draw(st.integers(0, 2)), found


def write_tags(length, found, scheme):
    tags = ["O"] * length
    previous = None
    for entity in found:
        size = entity.end - entity.start
        prefixes = ["B", *"I" * (size - 1)]
        if scheme == "IOB1":
            is_adjacent = previous is not None and (previous.end, previous.label) == (entity.start, entity.label)
            prefixes[0] = "B" if is_adjacent else "I"
        elif scheme in ("BIOES", "BILOU"):
            end, single = ("E", "S") if scheme == "BIOES" else ("L", "U")
            prefixes = [single] if size == 1 else [*prefixes[:-1], end]
        tags[entity.start : entity.end] = [f"{prefix}-{entity.label}" for prefix in prefixes]
        previous = entity
    return tags


@pytest.mark.parametrize("scheme", ["IOB1", "IOB2", "BIOES", "BILOU"])
@settings(deadline=None)
@given(sentence=tagged_entities())
def test_entities_survive_every_scheme(scheme, sentence):
    length, found = sentence
    tags = write_tags(length, found, scheme)
    assert entities(tags) == found
    assert list(to_iob2(tags)) == write_tags(length, found, "IOB2")


@settings(deadline=None)
@given(st.lists(st.sampled_from(["O", *(f"{prefix}-{label}" for prefix in "BIMESLU" for label in LABELS)])))
def test_invalid_sequences_are_read_in_one_way_only(tags):
    converted = to_iob2(tags)
    assert to_iob2(converted) == converted
    assert entities(converted) == entities(tags)
    assert [split_tag(tag)[1] for tag in converted] == [split_tag(tag)[1] for tag in tags]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (["O", "B-PER", "I-PER", "B-PER"], "IOB2"),
        (["O", "O"], "IOB2"),
        (["I-PER", "I-PER", "O", "I-LOC", "B-LOC"], "IOB1"),
        (["I-PER", "O", "B-LOC"], "mixed"),
        (["B-PER", "E-PER", "S-LOC"], "BIOES"),
        (["B-PER", "I-PER", "L-PER", "U-LOC"], "BILOU"),
        (["S-PER", "U-PER"], "mixed"),
        (["S-PER", "O", "I-PER"], "mixed"),
        (["B-LOC", "M-LOC", "E-LOC"], "BIOES"),
        (["NN", "VB", "O"], "plain"),
        (["NN", "B-PER"], "mixed"),
    ],
)
def test_the_scheme_is_recognised(tags, expected):
    assert detect_scheme([tags]) == expected


def test_plain_labels_stay_as_they_are():
    assert to_iob2(["NN", "VB", "B"]) == ("NN", "VB", "B")
    assert entities(["NN", "NN", "VB"]) == []
    assert split_tag("X-RAY") == ("", "X-RAY")


def test_m_continues_an_entity():
    assert to_iob2(["B-LOC", "M-LOC", "E-LOC", "S-LOC"]) == ("B-LOC", "I-LOC", "I-LOC", "B-LOC")
