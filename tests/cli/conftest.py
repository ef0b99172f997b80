"""A model that never stops, the command in this process, and a home folder per test."""

from dataclasses import replace

import pytest


@pytest.fixture(scope="session")
def talkative_folder(tmp_path_factory, tiny_config, tokenizer, one_thread):
    """A model folder whose greedy answers never end: it never predicts an end-of-text token."""
    import torch

    from turnwise.models.checkpoint import create, save

    model = create(replace(tiny_config, context_length=30_000), seed=0)
    with torch.no_grad():
        for id in tokenizer.special_ids:
            model.decoder.embed.weight[id] = 0
    folder = tmp_path_factory.mktemp("models") / "talkative"
    save(model, folder)
    tokenizer.save(folder)
    return folder


@pytest.fixture
def turnwise(monkeypatch, capsys):
    """`turnwise(*arguments)`: runs the command in this process; returns exit code, stdout and stderr."""
    from turnwise.cli import main

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["turnwise", *map(str, arguments)])
        try:
            main.main()
            code = 0
        except SystemExit as error:
            code = error.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(autouse=True)
def home_per_test(tmp_path, monkeypatch):
    """Tests never write into the home of the user who runs them."""
    monkeypatch.setenv("TURNWISE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
