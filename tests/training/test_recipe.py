"""Recipes: every key is used, or rejected with a helpful message."""

from pathlib import Path

import pytest
import yaml

from turnwise.core.errors import InvalidParameter
from turnwise.training.recipe import Recipe, load_recipe, parse_recipe

SMALLEST = {"model": {"from": "base"}, "data": {"train": "chats.jsonl"}, "out": "out"}
RECIPES = sorted(
    path
    for path in Path(__file__).parents[2].joinpath("recipes").rglob("*.yaml")
    if "\nobjective:" in "\n" + path.read_text(encoding="utf-8")  # at the top: a list of arms is no recipe
)


def refused(values, *says):
    with pytest.raises(InvalidParameter) as caught:
        parse_recipe(values, origin="mine.yaml")
    message = str(caught.value)
    assert message.startswith("mine.yaml")
    assert "\n" not in message
    for words in says:
        assert words in message
    return caught.value


def nested(path, value):
    """`SMALLEST` with `value` at a dotted path."""
    values = yaml.safe_load(yaml.safe_dump(SMALLEST))
    *sections, last = path.split(".")
    section = values
    for name in sections:
        section = section.setdefault(name, {})
    section[last] = value
    return values


class TestKeys:
    @pytest.mark.parametrize(
        ("path", "meant"),
        [
            ("objektive", "objective"),
            ("training.learning_rat", "learning_rate"),
            ("data.skipbad", "skip_bad_rows"),
            ("data.tran", "train"),
            ("model.form", "from"),
        ],
    )
    def test_an_unknown_key_is_rejected_with_the_nearest_valid_one(self, path, meant):
        error = refused(nested(path, "x"), f"unknown key '{path}'", f"did you mean '{meant}'?")
        assert error.param == path

    def test_an_unknown_nested_key_is_rejected_with_its_path(self):
        refused(nested("data.train", [{"path": "a", "repet": 2}]), "'data.train.0.repet'", "did you mean 'repeat'?")
        new = {"new": {"hiden_size": 64}, "tokenizer": "t"}
        refused(nested("model", new), "'model.new.hiden_size'", "did you mean 'hidden_size'?")

    def test_a_key_without_a_near_match_is_rejected_with_all_valid_keys(self):
        refused(nested("model.zzzz", 1), "known: from, interaction_format, new, tokenizer")

    def test_a_misspelt_key_that_is_missing_is_reported_by_its_spelling(self):
        values = {**SMALLEST, "data": {"trian": "chats.jsonl"}}
        refused(values, "unknown key 'data.trian'", "did you mean 'train'?")

    def test_a_missing_key_is_named(self):
        refused({name: SMALLEST[name] for name in ("model", "data")}, "'out' is missing.")

    def test_a_recipe_must_be_a_mapping(self):
        refused(["model"], "should hold keys")
        refused(None, "should hold keys")
        refused(
            {**SMALLEST, "model": "base"},
            "'model' should hold keys (from, interaction_format, new, tokenizer), not 'base'.",
        )


class TestValues:
    @pytest.mark.parametrize(
        ("path", "value"),
        [
            ("training.batch_size", 0),
            ("training.batch_size", "many"),
            ("training.batch_size", 2.5),
            ("training.learning_rate", 0),
            ("training.learning_rate", 1),
            ("training.learning_rate", float("nan")),
            ("training.epochs", float("inf")),
            ("training.warmup_ratio", 1),
            ("training.min_lr_ratio", -0.1),
            ("training.max_seq_len", 7),
            ("training.optimizer", "sgd"),
            ("training.lr_schedule", "linear"),
            ("training.dtype", "float16"),
            ("training.early_stopping_patience", -1),
            ("data.valid_fraction", 1),
            ("data.skip_bad_rows", "perhaps"),
            ("data.train", []),
            ("data.train", 5),
            ("data.train", [{"path": "a", "repeat": 0}]),
            ("data.train", [{"path": "a", "max_items": 0}]),
            ("model.new", {"hidden_size": 4}),
            ("model.new", {"family": "gpt2"}),
            ("out", 5),
        ],
    )
    def test_wrong_types_and_bounds_are_rejected_by_name(self, path, value):
        refused(nested(path, value), f"'{path}")

    def test_numbers_that_yaml_parses_as_text_are_accepted(self):
        """YAML 1.1 parses 1e-4 as text."""
        values = nested("training.learning_rate", yaml.safe_load("1e-4"))
        assert parse_recipe(values, origin="test").training.learning_rate == 1e-4

    @pytest.mark.parametrize(
        ("objective", "rate"), [("sft", 5e-4), ("dpo", 3e-5), ("kto", 3e-5), ("adversarial", 2e-5)]
    )
    def test_the_default_learning_rate_is_that_of_the_objective(self, objective, rate):
        recipe = parse_recipe({**SMALLEST, "objective": objective}, origin="mine.yaml")
        assert recipe.training.learning_rate == rate
        assert "learning_rate" not in recipe.training.model_fields_set, "presets replace it"
        own = parse_recipe({**nested("training.learning_rate", 1e-3), "objective": objective}, origin="mine.yaml")
        assert own.training.learning_rate == 1e-3

    def test_a_model_is_either_existing_or_new(self):
        refused({**SMALLEST, "model": {}}, "'model'", "either 'from'", "or 'new'")
        refused({**SMALLEST, "model": {"from": "base", "new": {}, "tokenizer": "t"}}, "either 'from'")
        refused({**SMALLEST, "model": {"new": {}}}, "needs 'tokenizer'")

    def test_a_path_is_short_for_a_source(self):
        data = parse_recipe(nested("data.train", ["a", {"path": "b", "repeat": 2}]), origin="test").data
        assert [(source.path, source.repeat) for source in data.train] == [("a", 1), ("b", 2)]
        assert parse_recipe(SMALLEST, origin="test").data.train[0].path == "chats.jsonl"


class TestFiles:
    def write(self, tmp_path, text):
        path = tmp_path / "recipe.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    def test_variables_are_expanded_from_the_environment(self, tmp_path, monkeypatch):
        monkeypatch.setenv("DATA", "/some: where #1")
        path = self.write(tmp_path, 'model: {from: base}\ndata: {train: "${DATA}/a.jsonl"}\nout: ${DATA}/out')
        recipe = load_recipe(path)
        assert recipe.data.train[0].path == "/some: where #1/a.jsonl"
        assert recipe.out == "/some: where #1/out"

    def test_an_unset_variable_is_rejected_by_name(self, tmp_path, monkeypatch):
        monkeypatch.delenv("DATA", raising=False)
        path = self.write(tmp_path, "# ${COMMENT} is none\nmodel: {from: base}\ndata: {train: a}\nout: ${DATA}/out")
        with pytest.raises(InvalidParameter, match="set the environment variable DATA"):
            load_recipe(path)

    @pytest.mark.parametrize("text", ["model: [", "a: b: c", "\t- x"])
    def test_invalid_yaml_is_rejected_in_one_line(self, tmp_path, text):
        with pytest.raises(InvalidParameter, match="is not YAML") as caught:
            load_recipe(self.write(tmp_path, text))
        assert "\n" not in str(caught.value)

    def test_a_missing_recipe_is_rejected(self, tmp_path):
        with pytest.raises(InvalidParameter, match="There is no recipe"):
            load_recipe(tmp_path / "none.yaml")

    @pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
    def test_every_bundled_recipe_parses(self, path, monkeypatch):
        monkeypatch.setenv("BOX", "/box")
        monkeypatch.setenv("DATA", "/data")
        monkeypatch.setenv("MODELS", "/models")
        assert isinstance(load_recipe(path), Recipe)

    def test_there_are_recipes(self):
        assert len(RECIPES) >= 2

    @pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
    def test_a_dumped_recipe_parses_to_the_same_recipe(self, path, monkeypatch, tmp_path):
        monkeypatch.setenv("BOX", "/box")
        monkeypatch.setenv("DATA", "/data")
        monkeypatch.setenv("MODELS", "/models")
        recipe = load_recipe(path)
        again = load_recipe(self.write(tmp_path, recipe.dump()))
        assert again == recipe
        assert again.dump() == recipe.dump()
