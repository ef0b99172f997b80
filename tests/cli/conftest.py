from dataclasses import replace

import pytest


@pytest.fixture(scope="session")
def talkative_folder(tmp_path_factory, tiny_config, tokenizer, one_thread):
    """A model whose greedy answers go on for tens of thousands of tokens: it never finds an end."""
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
    """`turnwise(*arguments)`: exit code, standard output and standard error of the command, run in this process."""
    from turnwise.cli import main

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["turnwise", *map(str, arguments)])
        try:
            main.main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """No test writes into the home of whoever runs it."""
    monkeypatch.setenv("TURNWISE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
