"""`turnwise keys`."""

import json
import re
import stat
import time
from datetime import timedelta

import pytest

from turnwise.core.api_keys import VISIBLE_LENGTH
from turnwise.core.key_usage import UsageCounts, UsageDay, utc_day
from turnwise.core.settings import Settings
from turnwise.store import open_key_store, open_key_usage


def stored_keys():
    return open_key_store(Settings.from_environment().keys_url).list()


def test_create_prints_only_the_key_to_standard_output(turnwise):
    code, out, err = turnwise("keys", "create", "--name", "laptop")
    assert code == 0
    assert re.fullmatch(r"tw-[0-9a-f]{64}\n", out)
    assert "not shown again" in err
    assert out.strip() not in err
    assert stored_keys()[0].verify(out.strip())
    assert stat.S_IMODE((Settings.from_environment().home / "keys.db").stat().st_mode) == 0o600


def test_quiet_prints_nothing_else(turnwise):
    code, out, err = turnwise("keys", "create", "--name", "laptop", "--quiet")
    assert (code, err) == (0, "")
    assert stored_keys()[0].verify(out.strip())


def test_list_shows_limits_and_dates_but_no_key(turnwise):
    limits = ["--requests-per-minute", "6000", "--max-concurrent", "4", "--role", "agent", "--collect", "full"]
    key = turnwise("keys", "create", "--name", "shop", *limits, "-q")[1].strip()
    turnwise("keys", "create", "--name", "me")
    open_key_store(Settings.from_environment().keys_url).record_use(key[:VISIBLE_LENGTH], 1_800_000_000)
    code, out, err = turnwise("keys", "list")
    assert (code, err) == (0, "")
    head, shop, me = out.splitlines()
    assert head.split() == [
        "NAME",
        "PREFIX",
        "ROLE",
        "CREATED",
        "LAST",
        "USED",
        "REQUESTS/MINUTE",
        "CONCURRENT",
        "COLLECT",
    ]
    assert re.fullmatch(
        rf"shop  {key[:VISIBLE_LENGTH]}…  agent  \S+ \d\d:\d\d  2027-01-\S+ \d\d:\d\d  6,000 +4 +full", shop
    )
    assert re.fullmatch(r"me    tw-\w{8}…  user   \S+ \d\d:\d\d  never +no limit +no limit +metadata", me)
    assert key not in out
    assert key[VISIBLE_LENGTH : VISIBLE_LENGTH + 8] not in out


def test_the_first_key_that_is_no_admin_is_told_what_it_cannot_reach(turnwise):
    hint = "reachable for keys of '--role admin' only"
    assert hint in turnwise("keys", "create", "--name", "a")[2]
    assert hint not in turnwise("keys", "create", "--name", "b")[2]
    turnwise("keys", "revoke", "a")
    turnwise("keys", "revoke", "b")
    assert hint not in turnwise("keys", "create", "--name", "c", "--role", "admin")[2]
    assert [key.role for key in stored_keys()] == ["admin"]


def test_list_without_keys_shows_how_to_create_one(turnwise):
    assert turnwise("keys", "list") == (
        0, "", "There are no keys yet. Create one: turnwise keys create --name NAME\n",
    )  # fmt: skip


def test_revoke_accepts_a_name_or_a_listed_prefix(turnwise):
    turnwise("keys", "create", "--name", "a")
    prefix = turnwise("keys", "create", "--name", "b", "-q")[1][:VISIBLE_LENGTH]
    code, out, _ = turnwise("keys", "revoke", "a")
    assert (code, bool(re.fullmatch(r"The key 'a' \(tw-\w{8}…\) is revoked\.\n", out))) == (0, True)
    assert turnwise("keys", "revoke", f"{prefix}…")[0] == 0, "the prefix as `list` prints it"
    code, _, err = turnwise("keys", "revoke", "a")
    assert (code, err) == (1, "Error: There is no key 'a'. `turnwise keys list` shows names and prefixes.\n")
    assert stored_keys() == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--name", "a"], "There is a key named 'a' already"),
        (["--name", "tw-1"], "A key's name has"),
        (["--name", "b", "--requests-per-minute", "0"], "Invalid value for '--requests-per-minute'"),
        (["--name", "b", "--role", "boss"], "Invalid value for '--role'"),
        (["--name", "b", "--max-concurrent", "-1"], "Invalid value for '--max-concurrent'"),
        ([], "Missing option '--name'"),
    ],
)
def test_invalid_flags_create_no_key(turnwise, flags, message):
    turnwise("keys", "create", "--name", "a")
    code, out, err = turnwise("keys", "create", *flags)
    assert (code, out) == (2, "")
    assert message in err
    assert len(stored_keys()) == 1


@pytest.mark.parametrize("command", ["create", "list", "revoke"])
def test_the_help_of_every_command_shows_an_example(turnwise, command):
    code, out, _ = turnwise("keys", command, "--help")
    assert code == 0
    assert f"turnwise keys {command}" in out


def test_usage_is_printed_by_key_by_day_and_as_json(turnwise):
    today = utc_day(time.time())
    yesterday = today - timedelta(days=1)
    counts = {
        UsageDay(today, "shop"): UsageCounts(1_200, 34_000, 5_600, 3),
        UsageDay(yesterday, "shop"): UsageCounts(1, 10, 5),
        UsageDay(yesterday, "app"): UsageCounts(2, 20, 6, 1),
    }
    open_key_usage(Settings.from_environment().keys_url).add(counts)

    _, out, _ = turnwise("keys", "usage")
    titles = "REQUESTS PROMPT TOKENS COMPLETION TOKENS ERRORS"
    assert [" ".join(line.split()) for line in out.splitlines()] == [
        f"KEY {titles}", "app 2 20 6 1", "shop 1,201 34,010 5,605 3",
    ]  # fmt: skip
    _, out, _ = turnwise("keys", "usage", "--daily", "--days", "1")
    assert [" ".join(line.split()) for line in out.splitlines()] == [
        f"DAY KEY {titles}", f"{today} shop 1,200 34,000 5,600 3",
    ]  # fmt: skip
    rows = json.loads(turnwise("keys", "usage", "--json")[1])
    assert rows[0] == {"day": str(yesterday), "key": "app", "requests": 2, "prompt_tokens": 20,
                       "completion_tokens": 6, "errors": 1}  # fmt: skip
    assert len(rows) == 3


def test_usage_without_requests(turnwise):
    assert turnwise("keys", "usage", "--days", "7") == (0, "", "No key was used in the last 7 days.\n")
    assert turnwise("keys", "usage", "--days", "91")[0] == 2
