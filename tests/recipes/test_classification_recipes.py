"""The recipes of classifiers: what is held out, variants of messages, the folder of the package, and the figures."""

import csv
import gzip
import importlib
import json
import random
import re
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from annotated_data import write_adapter_classifier, write_encoder
from turnwise.app.classifiers import open_classifier
from turnwise.core.errors import InvalidData, UserError
from turnwise.evaluation.classification.label_report import report_tokens
from turnwise.models.classifier_config import ClassifierConfig
from turnwise.models.safetensors_file import SafetensorsFile
from turnwise.training.recipe import load_recipe

FOLDER = Path(__file__).parents[2] / "recipes" / "classification"
RECIPES = sorted(FOLDER.glob("*.yaml"))
SCRIPTS = ("message_variants", "none_texts", "support_intents", "pack", "measure", "word_vectors", "train_conll2003")
FRAMES = ("I want to {}", "can you help me {} 123456?", "where do I {}", "need {}")
SUBJECTS = {
    "cancel": ("cancel order", "cancelling purchase", "stop the parcel", "no longer want it", "revoke my order"),
    "pay": ("pay by card", "paying with paypal", "use a bank transfer", "which coins work", "settle in cash"),
}


@pytest.fixture(scope="module")
def scripts():
    """The scripts of the folder by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        for name in SCRIPTS:
            patch.delitem(sys.modules, name, raising=False)
        yield {name: importlib.import_module(name) for name in SCRIPTS}
        for name in SCRIPTS:
            sys.modules.pop(name, None)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_valid(path, monkeypatch):
    monkeypatch.setenv("DATA", "data")
    monkeypatch.setenv("MODELS", "models")
    assert load_recipe(path).out


class TestSeedsOfTaggers:
    @pytest.fixture
    def script(self, scripts):
        return scripts["train_conll2003"]

    @pytest.mark.parametrize("from_scratch", [False, True])
    def test_the_recipe_of_a_seed_differs_in_seed_and_folders_only(self, script, from_scratch, tmp_path, monkeypatch):
        monkeypatch.setenv("DATA", "data")
        monkeypatch.setenv("MODELS", "models")
        path = script.FROM_SCRATCH_RECIPE if from_scratch else script.RECIPE
        values = script.recipe_of_seed(path, 4, tmp_path / "out", tmp_path / "tokenizer")
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(values))
        changed, original = load_recipe(tmp_path / "recipe.yaml"), load_recipe(path)
        assert (changed.training.seed, changed.out) == (4, str(tmp_path / "out"))
        training = changed.training.model_copy(update={"seed": original.training.seed})
        model = changed.model.model_copy(update={"tokenizer": original.model.tokenizer})
        assert changed.model_copy(update={"training": training, "model": model, "out": original.out}) == original
        assert changed.model.tokenizer == (str(tmp_path / "tokenizer") if from_scratch else None)

    def test_a_tagger_is_trained_once_and_one_of_another_recipe_is_not_replaced(self, script, tmp_path, monkeypatch):
        commands = []
        monkeypatch.setattr(script, "run_turnwise", lambda *arguments, environment: commands.append(arguments))
        recipe = script.recipe_of_seed(script.RECIPE, 1, tmp_path / "encoder-1", tmp_path / "tokenizer")
        script.train(recipe, tmp_path, tmp_path)
        assert commands == [("train", tmp_path / "encoder-1.yaml")]
        (tmp_path / "encoder-1").mkdir()
        script.train(recipe, tmp_path, tmp_path)
        recipe["training"]["epochs"] += 1
        with pytest.raises(SystemExit, match="was trained with another recipe"):
            script.train(recipe, tmp_path, tmp_path)
        assert len(commands) == 1

    def test_the_reports_of_all_seeds_are_averaged(self, script):
        report = report_tokens([["B-PER", "O", "O", "O"]], [["B-PER", "O", "O", "B-PER"]])
        worse = report_tokens([["B-PER", "O", "O", "O"]], [["B-PER", "O", "B-PER", "B-PER"]])
        stored = [script.label_report(json.loads(json.dumps(asdict(entry)))) for entry in (report, worse)]
        assert stored == [report, worse]
        assert script.summary([3, 5], [(report, worse), (worse, worse)]).splitlines()[2:] == [
            "| 3 | 75.00% | 50.00% |",
            "| 5 | 50.00% | 50.00% |",
            "| mean ± standard deviation | 62.50% ± 17.68% | 50.00% ± 0.00% |",
        ]


class TestHeldOutWordings:
    @pytest.fixture
    def messages(self):
        return [
            (frame.format(subject), intent)
            for intent, subjects in SUBJECTS.items()
            for subject in subjects
            for frame in FRAMES
        ]

    @pytest.mark.parametrize("seed", range(4))
    def test_no_wording_of_an_intent_is_in_two_splits(self, scripts, messages, seed):
        module = scripts["support_intents"]
        splits = module.split_by_wording(messages, seed)
        wordings = {
            name: {(intent, module.wording(text, {})) for text, intent in split} for name, split in splits.items()
        }
        assert sum(map(len, wordings.values())) == len(set().union(*wordings.values()))
        assert Counter(pair for split in splits.values() for pair in split) == Counter(messages)
        assert {intent for _, intent in splits["train"]} == set(SUBJECTS)

    def test_every_intent_is_held_out_within_its_share(self, scripts, messages):
        module = scripts["support_intents"]
        splits = module.split_by_wording(messages, 0)
        for name in ("valid", "test"):
            counts = Counter(intent for _, intent in splits[name])
            assert set(counts) == set(SUBJECTS)
            assert max(counts.values()) <= module.HELD_OUT_SHARE * 20 + 1

    @pytest.mark.parametrize(
        ("first", "second", "are_same"),
        [
            ("can you help me cancel order 732", "I need assistance cancelling order 11", True),
            ("how do I see my invoices", "help me see the INVOICE!", True),
            ("cancel order", "cancel purchase", False),
            ("can you help me", "help me can you", True),
        ],
    )
    def test_frames_endings_and_numbers_do_not_make_a_wording(self, scripts, first, second, are_same):
        wording = scripts["support_intents"].wording
        assert (wording(first, {}) == wording(second, {})) == are_same

    def test_a_rare_word_counts_as_a_misspelling(self, scripts):
        texts = ["cancel my account"] * 3 + ["cancle my acount", "zebra"]
        assert scripts["support_intents"].known_spellings(texts) == {"cancle": "cancel", "acount": "account"}


def test_prepared_files_leave_out_the_intents_that_are_named(scripts, tmp_path, monkeypatch):
    module = scripts["support_intents"]
    nouns = ("lamp", "chair", "table", "cup", "spoon")
    messages = [(f"{verb} the {noun}", verb) for verb in ("open", "sell", "carry") for noun in nouns]
    monkeypatch.setattr(module, "read_messages", lambda data: [*messages, ("gone", "d")])
    written = [(f"{noun}, {verb} it", verb) for verb in ("open", "sell", "d") for noun in nouns]
    monkeypatch.setattr(module, "read_written", lambda: [*written, *((f"hi {noun}", "none") for noun in nouns)])
    monkeypatch.setattr(module, "read_none_texts", lambda folder, per_intent, seed: ["play a song"])
    monkeypatch.setattr(module, "read_out_of_scope", lambda folder: ["what  is\nthis"])

    def prepare(name):
        module.main(
            module.argparse.Namespace(
                data=tmp_path, out=tmp_path / name, leave_out=["d"], per_intent=80, none_per_intent=1, seed=0
            )
        )
        return {path.name: path.read_text() for path in (tmp_path / name).iterdir()}

    files = prepare("first")
    assert files == prepare("second"), "everything is seeded"
    assert files["left_out.txt"] == "gone\n"
    assert files["out_of_scope.txt"] == "what is this\n"
    rows = [json.loads(line) for line in files["train.jsonl"].splitlines()]
    counts = Counter(row["label"] for row in rows)
    trained = len(messages) - 6  # a wording of every intent is held out in each of two splits
    assert counts.pop("none") == 4 * 5 + 1, "four written texts with four variants each, and one of the set"
    assert set(counts) == {"open", "sell", "carry"}
    assert counts.total() == 2 * trained + 2 * 4 * 5
    valid = [json.loads(line) for line in files["valid.jsonl"].splitlines()]
    assert [row["label"] for row in valid] == ["open", "sell", "none"], "one written message in five"
    assert files["test_short.jsonl"].count("\n") == files["test.jsonl"].count("\n")


class TestVariants:
    @given(text=st.text(st.sampled_from("abc xyz'12.,!é"), max_size=40), seed=st.integers(0, 9))
    def test_a_variant_is_never_empty_and_a_seed_gives_the_same_one(self, scripts, text, seed):
        for vary in scripts["message_variants"].VARIANTS.values():
            variant = vary(text, random.Random(seed))
            assert variant == vary(text, random.Random(seed))
            assert variant.strip() or not text.strip(" .,;:!?")

    @given(
        word=st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), min_size=4, max_size=12), seed=st.integers(0, 99)
    )
    def test_a_misspelt_word_keeps_its_first_letter_and_nearly_its_length(self, scripts, word, seed):
        misspelt = scripts["message_variants"].misspell_word(word, random.Random(seed))
        assert misspelt[0] == word[0]
        assert abs(len(misspelt) - len(word)) <= 1

    @given(seed=st.integers(0, 99))
    def test_at_most_two_words_are_misspelt_and_short_ones_never(self, scripts, seed):
        text = "i do not get my parcels with this order 1234567"
        misspelt = scripts["message_variants"].misspell(text, random.Random(seed))
        pairs = [*zip(text.split(), misspelt.split(), strict=True)]
        assert sum(before != after for before, after in pairs) <= 2
        assert all(before == after for before, after in pairs if len(before) < 4 or before.isdigit())

    def test_a_short_variant_is_the_subject(self, scripts):
        shorten = scripts["message_variants"].shorten
        rng = random.Random(0)
        assert shorten("Could you help me to cancel my order 123, please?", rng) == "cancel order 123"
        assert shorten("I need help.", rng) == "I need help."

    def test_polite_phrases_of_the_test_are_not_trained(self, scripts):
        phrases = scripts["message_variants"].POLITE_PHRASES
        trained = {part.strip() for pair in phrases["train"] for part in pair if part}
        tested = {part.strip() for pair in phrases["test"] for part in pair if part}
        assert not trained & tested


def read_messages(name):
    with (FOLDER / name).open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file)]


def test_no_message_for_training_is_a_near_copy_of_one_for_measuring():
    def words(text):
        return frozenset(re.findall(r"[a-z0-9']+", text.lower()))

    measured = [words(text) for text, _ in read_messages("support_messages.csv")]
    for text, _ in read_messages("support_training_messages.csv"):
        shared = max(len(words(text) & other) / max(1, len(words(text) | other)) for other in measured)
        assert shared < 0.6, text


def test_messages_for_training_have_every_intent_and_are_different(scripts):
    messages = read_messages("support_training_messages.csv")
    counts = Counter(label for _, label in messages)
    assert counts.pop("none") >= 100
    assert set(counts) == {label for _, label in read_messages("support_messages.csv")} - {"none"}
    assert min(counts.values()) >= 15
    assert len({text.casefold() for text, _ in messages}) == len(messages)
    train, valid = scripts["support_intents"].split_written(messages)
    assert sorted([*train, *valid]) == sorted(messages)
    assert {label for _, label in valid} == {*counts, "none"}


def test_texts_of_no_intent_are_of_other_intents(scripts, tmp_path):
    rows = [
        *((f"order {number}", "order") for number in range(3)),
        *((f"rain {number}", "weather") for number in range(3)),
    ]
    for name, texts in (("train", [*rows, ("blue cheese", "oos")]), ("valid", [*rows, ("what is seven", "oos")])):
        (tmp_path / f"{name}.csv").write_text(
            "".join(f"{text},{label}\n" for text, label in [("text", "label"), *texts])
        )
        (tmp_path / f"{name}.csv.gz").write_bytes(gzip.compress((tmp_path / f"{name}.csv").read_bytes()))
    texts = scripts["none_texts"].read_none_texts(tmp_path, 2, 0)
    assert texts[0] == "blue cheese"
    assert len(texts) == 3
    assert all(text.startswith("rain") for text in texts[1:])
    assert scripts["none_texts"].read_out_of_scope(tmp_path) == ["what is seven"]


def test_hand_written_messages_have_every_intent_of_the_card():
    with (FOLDER / "support_messages.csv").open(encoding="utf-8", newline="") as file:
        counts = Counter(row["label"] for row in csv.DictReader(file))
    card = (FOLDER / "cards" / "support-intents.md").read_text(encoding="utf-8")
    assert counts.pop("none") == 54
    assert set(counts.values()) == {4}
    assert len(counts) == 27
    assert all(f"`{intent}`" in card for intent in counts)


class TestPackageFolder:
    @pytest.fixture
    def run_folder(self, tmp_path, tokenizer, monkeypatch):
        """A classifier with an adapter of the stored model `minilm`."""
        monkeypatch.setenv("TURNWISE_HOME", str(tmp_path / "home"))
        base = tmp_path / "home" / "models" / "minilm"
        base.parent.mkdir(parents=True)
        write_encoder(base, tokenizer)
        (base / "source.json").write_text("{}")
        config = ClassifierConfig("sequence_classification", ("bad", "good"), temperature=1.5)
        return write_adapter_classifier(tmp_path / "run", base, config)

    def test_it_predicts_the_same_from_half_the_bytes(self, scripts, run_folder, tmp_path):
        target = tmp_path / "package"
        target.mkdir()
        (target / "README.md").write_text("card")
        (target / "old.bin").write_text("")
        scripts["pack"].main(run_folder, target)
        assert sorted(path.name for path in target.iterdir()) == [
            "README.md", "adapter_base.json", "adapter_config.json", "adapter_model.safetensors", "classifier.json",
            "classifier.safetensors",
        ]  # fmt: skip
        assert (target / "README.md").read_text() == "card"
        tensors = SafetensorsFile(target / "adapter_model.safetensors").tensors
        assert {header.dtype for header in tensors.values()} == {"F16"}
        texts = ["The lamp is broken", "Hello", "Order 12"]
        before, after = (open_classifier(str(folder), threads=1).classify(texts) for folder in (run_folder, target))
        for first, second in zip(before, after, strict=True):
            assert first.labels == second.labels
            assert first.scores[0].probability == pytest.approx(second.scores[0].probability, abs=0.02)

    def test_a_run_that_cannot_be_bundled_is_refused(self, scripts, run_folder, tmp_path):
        with pytest.raises(UserError, match="holds no adapter"):
            scripts["pack"].main(tmp_path / "home" / "models" / "minilm", tmp_path / "package")
        config = json.loads((run_folder / "adapter_config.json").read_text())
        (run_folder / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "/a/b"}))
        with pytest.raises(UserError, match="is an adapter of /a/b: train it on a model of"):
            scripts["pack"].main(run_folder, tmp_path / "package")
        assert not (tmp_path / "package").exists()


class TestFigures:
    def test_a_refused_text_is_wrong_and_a_text_of_no_label_should_be_refused(self, scripts, tmp_path):
        measure = scripts["measure"]
        (tmp_path / "texts.csv").write_text(
            "text,label\nup,positive\ndown,negative\nhm,negative\nwhat,none\nup!,none\n"
        )
        texts, labels = measure.read_texts(tmp_path / "texts.csv", {"positive": "good", "negative": "bad"}, "none")
        assert labels == ["good", "bad", "bad", None, None]
        classifier = FixedClassifier({"up": "good", "down": "bad", "hm": None, "what": None, "up!": "good"})
        cells = [cell.strip() for cell in measure.table_row("mine", classifier, texts, labels).strip("|").split("|")]
        assert cells[:2] == ["mine", "5"]
        assert cells[2].startswith("66.7% (")
        assert cells[3] == "83.3%"  # F1 of good: 1, of bad: 2/3
        assert [cell.split(" (")[0] for cell in cells[4:]] == ["0.0%", "33.3%", "50.0%"]

    def test_right_wrong_and_refused_texts_are_all_texts_with_a_label(self, scripts):
        classifier = FixedClassifier({"up": "good", "down": "good", "hm": None, "so": "bad"})
        row = scripts["measure"].table_row(
            "mine", classifier, ["up", "down", "hm", "so"], ["good", "bad", "bad", "bad"]
        )
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert [cells[column].split(" (")[0] for column in (2, 4, 5)] == ["50.0%", "25.0%", "25.0%"]
        assert cells[6] == "–"

    def test_all_texts_of_a_text_file_have_no_label(self, scripts, tmp_path):
        (tmp_path / "outside.txt").write_text("a\nb\n")
        assert scripts["measure"].read_texts(tmp_path / "outside.txt", {}, None) == (["a", "b"], [None, None])

    def test_an_unknown_label_is_an_error(self, scripts):
        with pytest.raises(InvalidData, match="has no label 'positive'; map it with --rename"):
            scripts["measure"].table_row("mine", FixedClassifier({"up": "good"}), ["up"], ["positive"])


class FixedClassifier:
    """Predicts a given label of every text."""

    def __init__(self, labels):
        self.config = ClassifierConfig("sequence_classification", ("bad", "good"))
        self._labels = labels

    def classify(self, texts):
        from turnwise.core.classification import TextLabels

        chosen = [self._labels[text] for text in texts]
        return [TextLabels((label,) if label else (), (), False) for label in chosen]
