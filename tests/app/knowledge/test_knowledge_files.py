"""Files and folders that become documents of a knowledge base."""

import pytest

from turnwise.app.knowledge.documents import find_files
from turnwise.core.errors import InvalidData, UserError


def test_a_file_is_parsed_into_passages_with_title_headings_and_warnings(base, tmp_path):
    path = tmp_path / "returns.html"
    path.write_text("<title>Returns</title><h1>Fees</h1><p>A desk costs ten euros.</p>", encoding="gb18030")
    document = base.add_file(path).document
    assert (document.title, document.num_passages) == ("Returns", 1)
    base.update_lexical()
    (found,) = base.index.search("what does the desk cost", 3)
    assert "A desk costs ten euros." in found.passage.text
    assert found.passage.location.headings == ("Fees",)
    assert base.add_file(path).change == "unchanged"


def test_a_document_that_cannot_be_read_changes_nothing(base, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "the lamp is red"}\n' * 1500 + "[]", encoding="utf-8")
    with pytest.raises(UserError, match=r"a\.jsonl.*line 1,501 should be an object"):
        base.add_file(path)
    assert base.status().num_documents == 0
    assert base.store.problems() == []


def test_a_document_of_many_batches_keeps_its_title(base, tmp_path):
    path = tmp_path / "long.md"
    path.write_text("# Manual\n\n" + "\n\n".join(f"## Part {i}\n\n" + f"word{i} " * 150 for i in range(1100)))
    document = base.add_file(path).document
    assert (document.title, document.num_passages) == ("Manual", 1100)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "line 2 is not readable JSON"), ("[]", "line 2 should be an object"), ('{"text": 5}', "with a 'text'"),
     ('{"text": "x", "heading": 1}', "'heading' of text")],
)  # fmt: skip
def test_a_malformed_line_of_json_texts_is_one_sentence(base, tmp_path, content, message):
    (tmp_path / "a.jsonl").write_text(f'{{"text": "one", "heading": "H"}}\n{content}')
    with pytest.raises(UserError, match=message):
        base.add_file(tmp_path / "a.jsonl")


def test_folders_are_read_in_order_without_hidden_files(tmp_path):
    for name in ("b.txt", "a/c.md", ".git/x.md", "a/.hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.name for path in find_files(tmp_path)] == ["c.md", "b.txt"]
    with pytest.raises(InvalidData, match="does not exist"):
        find_files(tmp_path / "missing")
