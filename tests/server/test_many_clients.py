"""Many clients at once, of which some disconnect and some read slowly: the others get the same answers as alone."""

import asyncio
import gc
import resource
import threading
import time
from pathlib import Path

import openai
import pytest

from turnwise.app.chat_services import open_chat_service
from turnwise.server.app import create_app
from turnwise.testing import serve_in_thread

pytestmark = pytest.mark.slow
CLIENTS = 64
QUESTIONS = ["Hello!", "Who are you?", "Tell me a joke", "How do I cancel my order?", "What is 3 plus 4?", "I am tired"]


@pytest.fixture(scope="module")
def service():
    with open_chat_service(max_num_seqs=16) as service:
        yield service


@pytest.fixture(scope="module")
def url(service):
    with serve_in_thread(create_app({"box": service}, default="box")) as url:
        yield f"{url}/v1"


def request_fields(number):
    return {
        "model": "box", "messages": [{"role": "user", "content": QUESTIONS[number % len(QUESTIONS)]}], "seed": number,
        "temperature": 0.3 * (number % 4), "max_tokens": 20 + number, "top_p": 0.95,
    }  # fmt: skip


async def read(client, number, *, leave=False, slowly=False):
    text = ""
    stream = await client.chat.completions.create(**request_fields(number), stream=True)
    async for chunk in stream:
        text += chunk.choices[0].delta.content or ""
        if leave and len(text) > 3 + number % 20:
            await stream.close()
            return None
        if slowly:
            await asyncio.sleep(0.02)
    return text


async def run_clients(url):
    async with openai.AsyncOpenAI(base_url=url, api_key="-", max_retries=0, timeout=120) as client:
        return await asyncio.gather(*(read(client, n, leave=n % 3 == 1, slowly=n % 10 == 0) for n in range(CLIENTS)))


def resident_megabytes():
    """Return the resident memory of this process in megabytes."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def is_idle(engine):
    deadline = time.monotonic() + 10
    while engine.load != (0, 0):
        assert time.monotonic() < deadline, f"still busy: {engine.load}"
        time.sleep(0.01)
    return True


def test_answers_do_not_depend_on_other_clients(service, url):
    alone = openai.OpenAI(base_url=url, api_key="-", max_retries=0)
    expected = [alone.chat.completions.create(**request_fields(n)).choices[0].message.content for n in range(CLIENTS)]
    asyncio.run(run_clients(url))  # fills caches and other things that are created once
    threads, memory = threading.active_count(), resident_megabytes()
    for _ in range(2):
        answers = asyncio.run(run_clients(url))
        for number, answer in enumerate(answers):
            if number % 3 != 1:
                assert answer == expected[number], f"client {number}"
        assert is_idle(service.engine)
    assert threading.active_count() <= threads + 40  # the thread pool for blocking calls has a fixed size
    assert resident_megabytes() < memory + 40, "a crowd of 64 leaves no megabytes behind"


def test_cancelled_requests_leave_no_memory_or_threads_behind(service, url):
    async def cancel_all():
        async with openai.AsyncOpenAI(base_url=url, api_key="-", max_retries=0) as client:
            await asyncio.gather(*(read(client, n, leave=True) for n in range(CLIENTS)))

    asyncio.run(cancel_all())
    assert is_idle(service.engine)
    response = openai.OpenAI(base_url=url, api_key="-").chat.completions.create(
        **request_fields(0) | {"temperature": 0}
    )
    assert response.choices[0].message.content
