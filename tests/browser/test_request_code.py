"""Requests as code: what curl, Python and node send is the request of the page."""

import shutil
import subprocess
import sys

import pytest
from page_actions import answers, send
from playwright.sync_api import expect

NASTY = "It's \"quoted\" \\ `id` $HOME $(id) %s {x} !! \n\ttab\r\n</script> 'a'\\''b' é 你好 😀 \u2028 # \x01 ${1} None"
REQUEST = {
    "model": "scripted",
    "messages": [{"role": "system", "content": "-d @x"}, {"role": "user", "content": NASTY}],
    "temperature": 0.25, "stop": ["'", "\n"], "logit_bias": {"42": -5.5}, "seed": 7,
    "top_k": 3, "ignore_eos": True, "early_stopping": "never", "sampling_preset": "chat",
    "guided_choice": ["it's", "None"],
}  # fmt: skip


@pytest.fixture
def code_of(visit):
    """`code_of(function, request, **options)`: the code of a request."""
    page = visit()

    def create(function, request, **options):
        return page.evaluate(
            """async ([name, request, options]) => {
                const code = await import("/assets/request_code.js");
                const { data, fields } = await (await fetch("/v1/parameters")).json();
                const extensions = new Set(["sampling_preset", "scenario"]);
                for (const { name, is_extension } of [...data, ...fields]) if (is_extension) extensions.add(name);
                const all = { origin: location.origin, needsKey: false, extensions, ...options };
                return code[name](code.portableRequest(request), all);
            }""",
            [function, request, options],
        )

    return create


def run_curl(code):
    return ["sh", "-c", f"{code} --silent --show-error --fail"]


def run_python(code):
    return [sys.executable, "-c", code]


def run_node(code):
    if (node := shutil.which("node")) is None:
        pytest.skip("No node was found; install it (apt-get install nodejs) to run this.")
    return [node, "--input-type=module", "--eval", code]


VARIANTS = [("toCurl", run_curl), ("toPython", run_python), ("toJavaScript", run_node)]


@pytest.mark.slow
@pytest.mark.parametrize(("function", "run"), VARIANTS)
def test_the_code_sends_the_request_of_the_page(code_of, script_answers, function, run):
    chat = script_answers()
    if function == "toCurl" and shutil.which("curl") is None:
        pytest.skip("No curl was found; install it (apt-get install curl) to run this.")
    page_fields = {"conversation_id": "conv_x", "store": True, "metadata": {"source": "playground"}}
    code = code_of(function, {**REQUEST, **page_fields})
    result = subprocess.run(run(code), capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert "Hello, you." in result.stdout
    (received,) = chat.requests
    assert [message.content for message in received.messages] == ["-d @x", NASTY]
    assert received.sampling == {
        "temperature": 0.25, "stop": ("'", "\n"), "logit_bias": ((42, -5.5),), "seed": 7, "top_k": 3,
        "ignore_eos": True, "early_stopping": "never",
    }  # fmt: skip
    assert (received.preset, received.output.format.source) == ("chat", ("it's", "None"))
    assert received.conversation_id is None


def test_code_for_a_server_with_keys_reads_the_key_from_the_environment(code_of):
    for function, _ in VARIANTS:
        assert "TURNWISE_API_KEY" in code_of(function, REQUEST, needsKey=True)
        assert "TURNWISE_API_KEY" not in code_of(function, REQUEST)


def test_the_request_of_an_answer_is_shown_as_code_and_copied(visit, script_answers):
    script_answers()
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    page.click("#open-controls")
    page.fill("#control-temperature", "0.2")
    send(page, "It's me")
    expect(answers(page)).to_have_count(1)
    page.fill("#control-temperature", "1.5")  # the code has the settings of the answer
    page.get_by_role("button", name="Show the request as code").click()
    code = page.locator("#code code")
    expect(code).to_contain_text('"content": "It\'\\\'\'s me"')
    expect(code).to_contain_text('"temperature": 0.2')
    page.get_by_label("Python").check()
    expect(code).to_contain_text("from openai import OpenAI")
    expect(code).to_contain_text('"content": "It\'s me"')
    page.get_by_role("button", name="Copy the code").click()
    assert page.evaluate("navigator.clipboard.readText()") == code.text_content()
    page.get_by_role("button", name="Close", exact=True).last.click()
    expect(page.locator("#code")).to_have_count(0)
    page.reload()
    page.get_by_role("button", name="Show the request as code").click()
    expect(page.locator("#code .dialog-hint").first).to_contain_text("settings are those of now")
    expect(code).to_contain_text("from openai import OpenAI")
