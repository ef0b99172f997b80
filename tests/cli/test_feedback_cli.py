"""`turnwise feedback`, `review` and `privacy`, and the commands of the chat."""

import json
import os
import stat

import pytest

from turnwise.cli.review_session import ReviewSession
from turnwise.core.feedback import AnswerReference, NewFeedback
from turnwise.core.messages import Message
from turnwise.store import open_store


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'chats.db'}"


@pytest.fixture
def store(url):
    opened = open_store(url)
    yield opened
    opened.close()


def add_answer(store, text="Hello.", **meta):
    id = store.create(title="", model="m").id
    store.append(id, [Message("user", "Hi")], {"consent": "full"})
    meta = {"finish": "stop", "model": "m", "consent": "full", **meta}
    return AnswerReference("message", store.append(id, [Message("assistant", text)], meta)[0])


def test_feedback_is_added_listed_and_counted(turnwise, store, url):
    answer = add_answer(store)
    code, out, _ = turnwise("feedback", "add", "last", "--rating", "down", "--tag", "Too long", "--user", "ann",
                            "--correction", "Hi\x1b[31m!", "--store", url)  # fmt: skip
    assert (code, f"on {answer}." in out) == (0, True)
    code, out, err = turnwise("feedback", "list", "--store", url)
    assert f"-  {answer}  too_long  Hi\ufffd[31m!" in out
    assert err == "Answers that can be learned from: 1\n"
    (line,) = turnwise("feedback", "list", "--json", "--store", url)[1].splitlines()
    assert (json.loads(line)["rating"], json.loads(line)["user"]) == ("down", "ann")


def test_the_latest_feedback_is_listed_first(turnwise, store, url):
    answer = add_answer(store)
    for number in range(5):
        store.feedback.add(answer, NewFeedback(comment=f"comment {number}"))
    out = turnwise("feedback", "list", "--limit", "2", "--store", url)[1]
    assert [line.split()[-1] for line in out.splitlines()] == ["4", "3"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["feedback", "add", "last"], 2, "needs a 'rating'"),
        (["feedback", "add", "nothing", "--rating", "up"], 2, "is not an answer"),
        (["feedback", "add", "message:msg_x", "--rating", "up"], 1, "There is no message 'msg_x'"),
        (["feedback", "add", "last", "--rating", "up"], 1, "There is no stored conversation"),
        (["privacy", "erase", "--yes"], 2, "Name the person"),
        (["privacy", "erase", "--user", "eve", "--yes"], 1, "Nothing is stored of a user 'eve'"),
    ],
)
def test_errors_say_what_to_do(turnwise, url, arguments, code, message):
    result = turnwise(*arguments, "--store", url)
    assert result[0] == code
    assert message in result[2]


def test_a_server_without_a_store_has_nothing_to_delete(turnwise):
    code, _, err = turnwise("serve", "--store", "none", "--retention-days", "30")
    assert (code, "--retention-days needs a store" in err) == (2, True)


def test_an_export_has_the_conversation_and_the_better_answers(turnwise, store, url, tmp_path):
    answer = add_answer(store, weights="ab")
    store.feedback.add(answer, NewFeedback(-1, "Better.", tags=("wrong",), user="ann"))
    out = tmp_path / "answers.jsonl"
    assert turnwise("feedback", "export", "--out", str(out), "--store", url)[0] == 0
    (row,) = map(json.loads, out.read_text(encoding="utf-8").splitlines())
    assert row["messages"] == [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
    assert (row["answer"], row["weights_sha256"]) == (str(answer), "ab")
    assert [(entry["rating"], entry["tags"]) for entry in row["ratings"]] == [("down", ["wrong"])]
    assert [(entry["content"], entry["origin"]) for entry in row["preferred"]] == [("Better.", "correction")]
    if os.name != "nt":
        assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert turnwise("feedback", "export", "--out", str(out), "--store", url)[0] == 2, "it exists"


def test_an_import_can_be_repeated(turnwise, store, url, tmp_path):
    answer = add_answer(store)
    rows = [{"answer": str(answer), "rating": "up", "created": 5.0, "user": "ann"},
            {"answer": str(answer), "comment": "good", "created": 6.0}]  # fmt: skip
    file = tmp_path / "ratings.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert turnwise("feedback", "import", str(file), "--store", url)[1].startswith("Added: 2 ")
    assert turnwise("feedback", "import", str(file), "--store", url)[1].startswith("Added: 0 ")
    assert [entry.created for entry in store.feedback.list()[0]] == [5.0, 6.0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not readable JSON"),
        ("[]", "is not feedback"),
        ('{"answer": "message:a", "stars": 5}', "unknown field 'stars'"),
        ('{"answer": "message:a", "rating": "good"}', "'rating' must be up or down"),
        ('{"answer": "message:a", "rating": true}', "'rating' must be up or down"),
        ('{"answer": "message:a", "comment": 5}', "'comment' must be a string"),
        ('{"answer": "message:a", "tags": "wrong"}', "'tags' must be a list"),
        ('{"answer": "message:a", "rating": "up", "created": "now"}', "'created' must be a Unix time"),
        ('{"answer": "message:a", "rating": "up", "created": 1700000000000}', "not in the future"),
        ('{"answer": "message:a", "rating": "up", "created": -1}', "'created' must be a Unix time"),
        (f'{{"answer": "message:a", "rating": "up", "created": 1{"0" * 400}}}', "not in the future"),
        ('{"answer": "message:a", "correction": " "}', "'correction' has no text"),
        ('{"answer": "a", "rating": "up"}', "is not an answer"),
        ('{"answer": "message:a"}', "needs a 'rating'"),
    ],
)
def test_a_bad_line_of_an_import_is_named_and_nothing_is_added(turnwise, store, url, tmp_path, line, message):
    answer = add_answer(store)
    file = tmp_path / "ratings.jsonl"
    file.write_text(f'{{"answer": "{answer}", "rating": "up"}}\n\n{line}\n', encoding="utf-8")
    code, _, err = turnwise("feedback", "import", str(file), "--store", url)
    assert (code, "line 3" in err, message in err) == (2, True, True)
    assert store.feedback.list() == ([], False)


def test_empty_cells_of_an_import_are_left_out(turnwise, store, url, tmp_path):
    file = tmp_path / "ratings.jsonl"
    row = {"answer": str(add_answer(store)), "rating": "up", "correction": "", "comment": ""}
    file.write_text(json.dumps(row), encoding="utf-8")
    assert turnwise("feedback", "import", str(file), "--store", url)[0] == 0
    ((entry,), _) = store.feedback.list()
    assert (entry.content.correction, entry.content.comment) == (None, None)


def test_an_account_without_a_name_needs_the_flag(turnwise, store, url, monkeypatch):
    def no_name():
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr("getpass.getuser", no_name)
    code, _, err = turnwise("review", "--store", url)
    assert (code, "--reviewer" in err) == (2, True)


def review(store, reviewer, keys, lines=()):
    """A session with these keys; the end of the keys is the end of the input."""
    keys, lines = iter(keys), iter(lines)

    def read_key():
        key = next(keys, None)
        if key is None:
            raise EOFError
        return key

    return ReviewSession(store, reviewer, read_key=read_key, read_line=lambda: next(lines)).run(100)


def test_a_review_in_the_terminal(store, capsys):
    for text in ("one", "two", "three\x1b[31m"):
        store.feedback.add(add_answer(store, text), NewFeedback(-1, user="ann"))
    assert review(store, "eve", ["s", "?", "1", "3", "1", "b", "c"], ["Better."]) == 2
    output = capsys.readouterr().out
    assert "three\ufffd[31m" in output
    assert "1 wrong  2 incomplete" in output
    assert "2 reviewed" in output
    verdicts = [entry.content for entry in store.feedback.list()[0] if entry.content.role == "reviewer"]
    assert [(verdict.rating, verdict.tags, verdict.correction) for verdict in verdicts] == [
        (-1, ("off_topic",), None), (-1, (), "Better."),
    ]  # fmt: skip
    assert review(store, "eve", ["q"]) == 0


@pytest.mark.parametrize("keys", ["g" * 70, "s" * 70, "gs" * 35])
def test_a_review_reads_each_answer_of_the_queue_a_few_times_at_most(store, keys, monkeypatch, capsys):
    """Whether the answers leave the queue or not."""
    for number in range(70):
        store.feedback.add(add_answer(store, f"Answer {number}."), NewFeedback(-1, user="ann"))
    queue, loaded = type(store.review_queue), []
    original = queue.next

    def counted(self, reviewer, *, limit):
        items = original(self, reviewer, limit=limit)
        loaded.append(len(items))
        return items

    monkeypatch.setattr(queue, "next", counted)
    assert review(store, "eve", keys) == keys.count("g")
    shown = capsys.readouterr().out
    assert all(shown.count(f"Answer {number}.") == 1 for number in range(70))
    assert len(loaded) <= 4
    assert sum(loaded) <= 4 * 70, "and not 70 times on average"


def test_the_agreement_is_printed_after_a_review(turnwise, store, url, capsys):
    for text in ("one", "two"):
        store.feedback.add(add_answer(store, text), NewFeedback(-1))
    review(store, "eve", "gb")
    review(store, "bob", "gg")
    capsys.readouterr()
    out = turnwise("review", "--agreement", "--store", url)[1]
    assert out == "local/user:bob and local/user:eve: 50% of 2 equal, Cohen's kappa 0.00.\n"


def test_personal_data_is_exported_and_erased_from_the_command_line(turnwise, store, url, tmp_path):
    add_answer(store, user="ann")
    add_answer(store, user="bob")
    out = tmp_path / "ann.json"
    assert turnwise("privacy", "export", "--user", "ann", "--out", str(out), "--store", url)[0] == 0
    assert len(json.loads(out.read_text(encoding="utf-8"))["conversations"]["conversations"]) == 1
    code, printed, _ = turnwise("privacy", "erase", "--user", "ann", "--yes", "--store", url)
    assert (code, printed) == (0, "Erased of local/user:ann: 1 conversations.\n")
    assert len(store.list()) == 1
    assert turnwise("privacy", "retention", "--days", "1", "--store", url)[1] == "Deleted: nothing.\n"
