"""While an answer arrives only its last block is drawn again, and the result is the same as at once."""

import pytest
from playwright.sync_api import expect

from turnwise.core.messages import Message

# Draws a text in pieces; returns the number of blocks drawn in each step, and whether the first element stayed.
STREAM = """async ({ text, size }) => {
  const { MarkdownView, loadParser } = await import('/assets/markdown.js');
  await loadParser();
  const [streamed, atOnce] = [0, 1].map(() => document.body.appendChild(document.createElement('div')));
  const view = new MarkdownView(streamed);
  const steps = [];
  let first = null;
  for (let end = size; end < text.length; end += size) {
    const before = view.numDrawn;
    view.update(text.slice(0, end), { isStreaming: true });
    steps.push(view.numDrawn - before);
    first ??= end > text.length / 2 ? streamed.querySelector('p, tr, li, .code') : null;
  }
  view.update(text);
  await new MarkdownView(atOnce).update(text);
  await new Promise((done) => setTimeout(done, 300));
  const result = {
    steps,
    isSame: streamed.innerHTML === atOnce.innerHTML,
    streamed: streamed.innerHTML,
    atOnce: atOnce.innerHTML,
    keepsFirst: first?.isConnected ?? null,
  };
  streamed.remove();
  atOnce.remove();
  return result;
}"""

BLOCKS = {
    "paragraphs": "A paragraph with **bold** text.\n\n" * 30,
    "a list": "".join(f"- item {n} with `code`\n" for n in range(60)),
    "a table": "| a | b |\n| --- | --- |\n" + "| cell | **cell** |\n" * 60,
    "a quotation": "> A quotation.\n>\n" * 30,
    "code": "```\n" + "x = 1\n" * 200 + "```\n",
    "nested lists": "".join(f"- item {n}\n  1. inner\n  2. more\n" for n in range(20)),
}


@pytest.fixture(scope="module")
def empty_page(browser, server_url):
    context = browser.new_context()
    page = context.new_page()
    page.goto(server_url + "/docs")
    yield page
    context.close()


@pytest.mark.parametrize("name", BLOCKS)
def test_a_step_draws_the_last_blocks_only(empty_page, name):
    result = empty_page.evaluate(STREAM, {"text": BLOCKS[name], "size": 5})
    assert max(result["steps"]) <= 3, "a step of five characters touches the last block, or ends it and begins another"
    assert result["keepsFirst"]
    assert result["isSame"]


MIXED = """# Title
Text with a [reference][1] and a note[^n], *emphasis* and
a second line.
- one
- two

  a second paragraph
1. first
2. second

| a | b |
|---|:-:|
| 1 | $x$ |

> quotation
continued

$$
x^2
$$

#hashtag and text
===

```python
def f():
    return 1
```
Last words.

[1]: https://example.org
[^n]: The note.
"""


@pytest.mark.parametrize("size", [1, 3, 7, 50])
def test_the_result_is_that_of_the_text_at_once(empty_page, size):
    result = empty_page.evaluate(STREAM, {"text": MIXED, "size": size})
    assert result["streamed"] == result["atOnce"]


def test_reasoning_that_arrives_is_drawn_like_other_text(empty_page):
    text = "<think>" + "A thought.\n\n" * 20 + "</think>" + "An answer.\n\n" * 20
    result = empty_page.evaluate(STREAM, {"text": text, "size": 6})
    assert max(result["steps"]) <= 3
    assert result["isSame"]


CODE_CHUNKS = """async ({ text, size }) => {
  const { CodeBlock } = await import('/assets/markdown/code_block.js');
  const { loadLanguage } = await import('/assets/markdown/highlighting.js');
  await loadLanguage('python');
  const block = new CodeBlock('python');
  const drawn = [];
  for (let end = size; end <= text.length; end += size) {
    const before = [...block.code.children];
    const nodes = before.map((chunk) => chunk.firstChild);
    block.update(text.slice(0, end), false);
    drawn.push(before.filter((chunk, index) => chunk.firstChild !== nodes[index]).length);
  }
  return { drawn, text: block.code.textContent, numChunks: block.code.children.length };
}"""


def test_only_the_last_lines_of_long_code_are_coloured_again(empty_page):
    text = "def f(x):\n    return x\n\n" * 1000
    result = empty_page.evaluate(CODE_CHUNKS, {"text": text, "size": 100})
    assert result["text"] == text
    assert result["numChunks"] >= 5
    assert max(result["drawn"]) == 1


def test_a_long_chat_is_drawn_from_its_end_and_can_be_searched(visit, script_answers, store):
    id = store.create(title="Long", model="scripted").id
    store.append(id, [Message(role, f"**{role}** {n}") for n in range(100) for role in ("user", "assistant")])
    page = visit(f"/#{id}")
    expect(page.locator(".message.last strong")).to_have_count(1)
    page.wait_for_function("() => document.querySelectorAll('.message.assistant strong').length === 100")
    styles = page.locator(".message").evaluate_all("all => all.map((e) => getComputedStyle(e).contentVisibility)")
    assert styles[:-1] == ["auto"] * 199
    is_found = page.evaluate("window.find('assistant 3', false, false, true)")
    assert is_found, "the search of the browser finds messages that are not laid out"
    assert page.evaluate("getSelection().anchorNode.parentElement.closest('.message') !== null")
