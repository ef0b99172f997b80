"""`turnwise monitor simulate`: a recording with known surges that the monitor reads completely."""

import json

from typer.testing import CliRunner

from turnwise.cli.main import app
from turnwise.core.errors import InvalidParameter

DAY_2026_06_10 = 20_614 * 86_400


def run(*arguments):
    return CliRunner().invoke(app, ["monitor", *map(str, arguments)])


def simulate(folder, *arguments):
    result = run("simulate", folder, "--days", 2, "--posts-per-day", 400, "--topics", 3, "--surges", 2, *arguments)
    assert result.exit_code == 0, result.exception
    return result, [json.loads(line) for line in (folder / "posts.jsonl").read_text().splitlines()]


def test_posts_have_unique_ids_and_cover_all_days_in_order(tmp_path):
    _, posts = simulate(tmp_path / "demo")
    times = [post["time"] for post in posts]
    assert times == sorted(times)
    assert {time // 86_400 * 86_400 for time in times} == {DAY_2026_06_10 - 86_400, DAY_2026_06_10}
    assert len({post["id"] for post in posts}) == len(posts)


def test_the_surges_are_printed_and_a_seed_gives_the_same_file(tmp_path):
    first, _ = simulate(tmp_path / "a")
    again, _ = simulate(tmp_path / "b")
    other, _ = simulate(tmp_path / "c", "--seed", 1)
    assert first.stdout == again.stdout != other.stdout
    lines = first.stdout.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("2026-06-10 ") and " x " in line for line in lines)
    contents = [(tmp_path / name / "posts.jsonl").read_bytes() for name in "abc"]
    assert contents[0] == contents[1] != contents[2]


def test_the_last_day_can_be_set(tmp_path):
    _, posts = simulate(tmp_path / "demo", "--last-day", "2025-01-02")
    assert posts[-1]["time"] // 86_400 == 20_090


def test_a_replay_counts_every_post(tmp_path):
    _, posts = simulate(tmp_path / "demo")
    result = run("replay", tmp_path / "demo/posts.jsonl", "--topics", tmp_path / "demo/topics.yaml")
    assert result.exit_code == 0, result.exception
    assert f"{len(posts):>12,}  texts\n" in result.stdout
    assert "late" not in result.stdout
    assert "malformed" not in result.stdout


def test_an_existing_folder_is_not_changed(tmp_path):
    (tmp_path / "posts.jsonl").write_text("mine\n")
    result = run("simulate", tmp_path)
    assert isinstance(result.exception, InvalidParameter)
    assert "exists. Name a new folder." in str(result.exception)
    assert (tmp_path / "posts.jsonl").read_text() == "mine\n"
