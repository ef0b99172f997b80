"""Annotated texts are read from CoNLL columns, CSV and JSON lines; invalid rows are refused with file and line."""

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.core.errors import InvalidData
from turnwise.core.tag_schemes import entities
from turnwise.data.annotations.annotated import LabeledText, TaggedSentence
from turnwise.data.annotations.conll import ConllColumns
from turnwise.data.annotations.rows import tag_spans
from turnwise.data.annotations.source import AnnotationSource

CONLL = """\
-DOCSTART- -X- -X- O

Ada NNP I-NP I-PER
lives VBZ I-VP O
in IN I-PP O
Rome NNP I-NP I-LOC

She PRP I-NP O

-DOCSTART- -X- -X- O

Ada NNP I-NP I-PER
"""


@pytest.fixture
def write(tmp_path):
    """`write(name, text)`: the path of a file."""

    def make(name, text):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return make


def read(path, **options):
    return AnnotationSource(path, **options).read()


def test_conll_columns_become_sentences_of_documents_in_iob2(write):
    source = AnnotationSource(write("news.conll", CONLL))
    assert source.read() == [
        TaggedSentence(("Ada", "lives", "in", "Rome"), ("B-PER", "O", "O", "B-LOC"), 1),
        TaggedSentence(("She",), ("O",), 1),
        TaggedSentence(("Ada",), ("B-PER",), 2),
    ]
    assert source.scheme == "IOB1"


def test_other_columns_comments_tabs_and_compression(write):
    text = "\tcaf\u00e9\u00a0noir\tNOUN\r\n\t#\tSYM\r\n\n"
    path = write("words.conll.gz", gzip.compress(text.encode()))
    expected = [TaggedSentence(("caf\u00e9\u00a0noir", "#"), ("NOUN", "SYM"), 0)]
    assert read(path, conll_columns=ConllColumns(token=1)) == expected
    assert read(path, columns={"tokens": "1", "tags": "2"}) == expected


def test_conll_u_has_forms_parts_of_speech_documents_and_ids_that_are_no_words(write):
    lines = ["# newdoc id = a", "# sent_id = 1", "1-2\tdu\t_\t_\t_", "1\tde\tde\tADP\t_", "2\tle\tle\tDET\t_",
             "2.1\tx\tx\tVERB\t_", "", "# newdoc", "1\t#\t#\tSYM\t_", ""]  # fmt: skip
    assert read(write("words.conllu", "\n".join(lines))) == [
        TaggedSentence(("de", "le"), ("ADP", "DET"), 1),
        TaggedSentence(("#",), ("SYM",), 2),
    ]


def test_a_document_start_ends_a_sentence(write):
    assert read(write("news.conll", "a O\n-DOCSTART- O\nb O\n")) == [
        TaggedSentence(("a",), ("O",), 0),
        TaggedSentence(("b",), ("O",), 1),
    ]


def test_tags_without_a_prefix_among_others_are_refused(write):
    with pytest.raises(InvalidData, match=r"line 3: the tag 'LOC' has no prefix such as B- or I-"):
        read(write("news.conll", "a B-LOC\n\nb LOC\n"))


def test_rows_with_a_label_and_spans_are_read_as_the_given_kind(write):
    row = {"text": "in Rome", "label": "where", "spans": [{"start": 3, "end": 7, "label": "LOC"}]}
    path = write("data.jsonl", json.dumps(row))
    assert read(path, annotation_kind="labels") == [LabeledText("in Rome", ("where",))]
    assert read(path, annotation_kind="tags") == [TaggedSentence(("in", "Rome"), ("O", "B-LOC"), 1)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a O\nb\n", "line 2: it has 1 columns, but line 1 has 2"),
        ("a O\n\nb O O\n", "line 3: it has 3 columns"),
        ("a\n", "line 1 has 1 columns, and at least 2 are needed"),
        ("a\tO\nb\t\n", "line 2: its token or its tag is empty"),
        ("a O\n\xff O\n".encode("latin-1"), "line 2: it is not UTF-8"),
        ("", "holds no annotated texts"),
    ],
)
def test_invalid_columns_are_refused_with_their_line(write, text, message):
    with pytest.raises(InvalidData, match=message):
        read(write("bad.conll", text))


def test_a_bad_sentence_can_be_skipped_and_is_recorded(write):
    source = AnnotationSource(write("bad.conll", "a O\nb\nc O\n\nd O\n"), skip_bad_rows=True)
    assert source.read() == [TaggedSentence(("d",), ("O",))]
    assert [str(row.location).rsplit(", ")[-1] for row in source.bad_rows] == ["line 2"]


def test_tables_have_texts_with_labels(write):
    csv = write("intents.csv", 'text,label\n"Where, please?",where\nHow?,how\n')
    texts = read(csv)
    assert texts == [LabeledText("Where, please?", ("where",)), LabeledText("How?", ("how",))]


def test_column_names_can_be_given(write):
    path = write("posts.csv", "id,body,mood\n1,Shares fall,bad\n")
    assert read(path, columns={"text": "body", "label": "mood"}) == [LabeledText("Shares fall", ("bad",))]
    with pytest.raises(InvalidData, match=r"no column or key 'nody' \(there are id, body, mood\)"):
        read(path, columns={"text": "nody"})
    with pytest.raises(InvalidData, match="no column or key for the text"):
        read(path)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"text": "hi", "label": "greet"}, LabeledText("hi", ("greet",))),
        ({"text": "hi", "label": 3}, LabeledText("hi", ("3",))),
        ({"text": "hi", "labels": ["b", "a", "b"]}, LabeledText("hi", ("b", "a"))),
        ({"text": "hi", "label": []}, LabeledText("hi", ())),
        ({"text": "hi", "label": "[other]"}, LabeledText("hi", ("[other]",))),
        ({"tokens": ["a", "b"], "ner_tags": ["O", "B-X"]}, TaggedSentence(("a", "b"), ("O", "B-X"), 1)),
        (
            {"text": "In Rome.", "spans": [{"start": 3, "end": 7, "label": "LOC"}]},
            TaggedSentence(("In", "Rome", "."), ("O", "B-LOC", "O"), 1),
        ),
        ({"text": "In Rome.", "label": [[3, 7, "LOC"]]}, TaggedSentence(("In", "Rome", "."), ("O", "B-LOC", "O"), 1)),
        ({"text": "In Rome.", "entities": []}, TaggedSentence(("In", "Rome", "."), ("O", "O", "O"), 1)),
    ],
)
def test_json_lines_have_labels_tags_or_spans(write, row, expected):
    assert read(write("data.jsonl", json.dumps(row) + "\n")) == [expected]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "", "label": "x"}, "'text' is empty"),
        ({"text": "hi", "label": None}, "'label' is null, not text"),
        ({"tokens": ["a"], "tags": []}, "it has 1 tokens and 0 tags"),
        ({"tokens": ["a"], "tags": "O"}, "'tags' is text, not a list"),
        ({"tokens": [], "tags": []}, "it has no tokens"),
        ({"text": "In Rome", "spans": [{"start": 3, "end": 70, "label": "LOC"}]}, "from 3 to 70, and the text has 7"),
        (
            {"text": "In Rome", "spans": [{"start": 0, "end": 4, "label": "A"}, {"start": 3, "end": 7, "label": "B"}]},
            "span of 'B' at 3 overlaps",
        ),
        ({"text": "In Rome", "spans": [{"start": 2, "end": 3, "label": "A"}]}, "holds no word"),
        (  # the start counts UTF-16 units, as JavaScript does
            {"text": "\U0001f600 in Rome", "spans": [{"start": 6, "end": 9, "label": "LOC", "text": "Rome"}]},
            "positions count Unicode code points",
        ),
    ],
)
def test_invalid_rows_are_refused_with_their_line(write, row, message):
    good = json.dumps({"text": "ok", "label": "x"})
    with pytest.raises(InvalidData, match=rf"data.jsonl, line 2: .*{message}"):
        read(write("data.jsonl", f"{good}\n{json.dumps(row)}\n"))


def test_labels_and_tags_do_not_mix(write):
    rows = [{"text": "a", "label": "x"}, {"tokens": ["a"], "tags": ["O"]}]
    with pytest.raises(InvalidData, match="line 2: it has tags and the rows before it labels"):
        read(write("data.jsonl", "\n".join(map(json.dumps, rows))))


@settings(deadline=None)
@given(st.lists(st.text(alphabet="ab .中文'-", min_size=1, max_size=6), min_size=1, max_size=5), st.data())
def test_the_entities_of_a_text_with_spans_are_the_words_of_its_spans(parts, data):
    chosen = [index for index, part in enumerate(parts) if part.strip(" -'.") and data.draw(st.booleans())]
    offsets = [sum(map(len, parts[:index])) for index in range(len(parts) + 1)]
    text = "".join(parts)
    if not text.strip():
        return
    spans = [{"start": offsets[index], "end": offsets[index + 1], "label": f"L{index}"} for index in chosen]
    sentence = tag_spans(text, spans)
    found = entities(sentence.tags)
    assert [entity.label for entity in found] == [span["label"] for span in spans]
    for entity, index in zip(found, chosen, strict=True):
        words = "".join(sentence.tokens[entity.start : entity.end])
        assert words == parts[index].replace(" ", "")
    assert "".join(sentence.tokens) == text.replace(" ", "")
