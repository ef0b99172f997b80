"""Dialogues of data sets, and what the library says about them."""

import json
import time


def dialogue(question, answer="Yes.", **extra):
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}], **extra}


def jsonl(rows):
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows).encode()


def wait_for_check(library, name):
    deadline = time.monotonic() + 20
    while (check := library.check(name)).state == "running" and time.monotonic() < deadline:
        time.sleep(0.01)
    return check


def questions(page):
    return [row.content["messages"][0]["content"] for row in page.rows]


def finding(check, kind):
    return next(entry for entry in check.report["findings"] if entry["kind"] == kind)
