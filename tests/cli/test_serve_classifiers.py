"""`turnwise serve --classifier`: names, checks before anything is loaded, and a server as a process."""

import re
import subprocess
import sys

import httpx
import pytest

from annotated_data import write_classifier
from turnwise.cli.serve_classifiers import open_classifiers, parse_classifiers
from turnwise.engine.native.library import library
from turnwise.models.classifier_config import ClassifierConfig

PROGRAM = "from turnwise.cli.main import main; main()"


@pytest.fixture(scope="module")
def moods_folder(tmp_path_factory, tokenizer):
    config = ClassifierConfig("sequence_classification", ("good", "bad"))
    return write_classifier(tmp_path_factory.mktemp("classifiers") / "moods", tokenizer, config, num_heads=3)


@pytest.fixture(scope="module")
def names_folder(tmp_path_factory, tokenizer):
    config = ClassifierConfig("token_classification", ("O", "B-PER", "I-PER"))
    return write_classifier(tmp_path_factory.mktemp("classifiers") / "names", tokenizer, config)


def test_classifiers_are_named_after_their_folder_or_by_the_option(moods_folder, names_folder, capsys):
    models = parse_classifiers([str(moods_folder), f"people={names_folder}"])
    assert models == {"moods": str(moods_folder), "people": str(names_folder)}
    services = open_classifiers(models, taken_names={"chat"}, threads=1)
    assert {name: service.name for name, service in services.items()} == {"moods": "moods", "people": "people"}
    assert services["moods"].executor is services["people"].executor
    assert capsys.readouterr().out.splitlines() == [
        "moods: classifies texts with 2 labels (POST /v1/classify).",
        "people: tags words with 3 labels (POST /v1/tag).",
    ]


@pytest.mark.skipif(library() is None, reason="no compiled library")
def test_served_classifiers_can_have_8_bit_weights(moods_folder):
    models = parse_classifiers([str(moods_folder)], "int8")
    exact, rounded = (
        open_classifiers(models, taken_names=(), quantize=quantize, threads=1)["moods"].classifier.classify(["Ada"])
        for quantize in (None, "int8")
    )
    assert exact[0].scores[0].probability != rounded[0].scores[0].probability


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--classifier-quantize", "int8"], "--classifier-quantize needs --classifier."),
        (["--classifier", "{moods}", "--classifier-quantize", "int4"], "quantized to int8 only, not to int4"),
    ],
)
def test_a_quantization_that_does_not_apply_is_rejected(turnwise, moods_folder, model_folder, flags, message):
    arguments = [flag.format(moods=moods_folder) for flag in flags]
    code, _, err = turnwise("serve", model_folder, "--port", 0, "--store", "none", *arguments)
    assert code == 2
    assert message in err


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["{moods}", "{moods}"], "Two classifiers have the name 'moods'"),
        (["={moods}"], "must be FOLDER or NAME=FOLDER"),
        (["tone="], "must be FOLDER or NAME=FOLDER"),
        (["latest={moods}"], "'latest' stands for the default model"),
        (["{chat}"], "holds no classifier"),
        (["tone={moods}/missing"], "There is no model folder"),
        (["tiny={moods}"], "Two models have the name 'tiny'"),
    ],
)
def test_an_invalid_classifier_is_rejected_in_one_line(turnwise, moods_folder, model_folder, values, message):
    flags = [
        argument
        for value in values
        for argument in ("--classifier", value.format(moods=moods_folder, chat=model_folder))
    ]
    code, _, err = turnwise("serve", model_folder, "--port", 0, "--store", "none", "--threads", 1, *flags)
    assert code == 2
    assert message in err
    assert err.startswith("Error: ")
    assert err.count("\n") == 1


@pytest.mark.slow
def test_a_server_classifies_and_tags_beside_its_chat_model(model_folder, moods_folder, names_folder):
    command = [sys.executable, "-c", PROGRAM, "serve", model_folder, "--port", "0", "--threads", "1", "--store", "none",
               "--classifier", moods_folder, "--classifier", f"people={names_folder}"]  # fmt: skip
    with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True) as process:
        try:
            output = ""
            while not (match := re.search(r"http://127\.0\.0\.1:\d+", output)):
                line = process.stdout.readline()
                assert line, output
                output += line
            for route, model in (("classify", "moods"), ("tag", "people")):
                answer = httpx.post(f"{match[0]}/v1/{route}", json={"model": model, "input": "Ada"}, timeout=60)
                assert (answer.status_code, answer.json()["model"]) == (200, model)
        finally:
            process.terminate()
