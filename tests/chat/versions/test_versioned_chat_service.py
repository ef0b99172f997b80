"""A chat service with versions: each request is answered by one, which stays open until the request has ended."""

import asyncio
from contextlib import aclosing

import pytest

from turnwise.chat.versions.live_version import LiveVersion
from turnwise.chat.versions.shadow_traffic import MAX_WAITING, SHADOW_PRIORITY
from turnwise.chat.versions.version_router import VersionRouter
from turnwise.chat.versions.versioned_chat_service import VersionedChatService
from turnwise.core.chat_request import ChatRequest
from turnwise.core.errors import InvalidParameter, ModelNotFound, TurnwiseError, Unavailable
from turnwise.core.feedback import AnswerOrigin, AnswerReference
from turnwise.core.messages import Message
from turnwise.core.model_versions import ModelVersion, NewVersion, VersionOutcomes, VersionRouting
from turnwise.store import open_store
from turnwise.testing import ScriptedChatService

HELLO = ChatRequest(messages=(Message("user", "Hello"),))


def version(number, state="serving", share=0.0):
    return ModelVersion(number, 0.0, state, NewVersion("shop", f"folder{number}", f"digest{number}"), share)


class Versions:
    """Versions 1 to 3, which answer with their number; `closed` lists those that were closed."""

    def __init__(self, **fields):
        self.closed = []
        self.services = {
            number: ScriptedChatService(["I am ", str(number)], name="shop", **fields) for number in (1, 2, 3)
        }
        for number, service in self.services.items():
            service.fingerprint = f"fp_{number}"
        self.live = {
            number: LiveVersion(version(number), service, lambda number=number: self.closed.append(number))
            for number, service in self.services.items()
        }

    def router(self, *, share=None, shadow=False):
        router = VersionRouter("shop", VersionRouting(1, version(1)), {1: self.live[1]})
        if share is not None or shadow:
            self.swap(router, 1, share=share, shadow=shadow)
        return router

    def swap(self, router, serving, *, share=None, shadow=False):
        canary = None if share is None else version(2, "canary", share)
        routing = VersionRouting(2, version(serving), canary, version(3, "shadow") if shadow else None)
        router.swap(routing, {version.number: self.live[version.number] for version in routing.versions})


async def texts(service, request=HELLO):
    return "".join([delta.text async for delta in service.stream(request)])


def test_a_request_that_has_begun_ends_with_its_version_while_others_get_the_new_one():
    versions = Versions(delay=0.001)
    router = versions.router()
    service = VersionedChatService(router)

    async def run():
        async with aclosing(service.stream(HELLO)) as deltas:
            text = (await anext(deltas)).text
            versions.swap(router, 2)
            assert not versions.live[1].close_if_idle()
            assert await texts(service) == "I am 2"
            text += "".join([delta.text async for delta in deltas])
        return text

    assert asyncio.run(run()) == "I am 1"
    assert versions.live[1].close_if_idle()
    assert versions.closed == [1]


def test_a_cancelled_request_does_not_keep_its_version_open():
    versions = Versions(delay=0.001)
    service = VersionedChatService(versions.router())

    async def run():
        async with aclosing(service.stream(HELLO)) as deltas:
            await anext(deltas)
            assert versions.live[1].num_requests == 1

    asyncio.run(run())
    assert versions.live[1].num_requests == 0


def test_a_lease_keeps_a_version_open_before_the_stream_begins_and_is_released_once():
    versions = Versions()
    service = VersionedChatService(versions.router())

    async def run():
        first, second = await service.acquire(HELLO), await service.acquire(HELLO)
        first.release()
        first.release()
        assert not versions.live[1].close_if_idle()
        assert await texts(second.service) == "I am 1"
        second.release()
        assert versions.live[1].close_if_idle()

    asyncio.run(run())


def test_a_request_that_meets_a_closed_version_takes_the_next_routing():
    versions = Versions()
    router = versions.router()
    versions.live[1].acquire = lambda: versions.swap(router, 2)  # replaced and closed between two instructions
    assert asyncio.run(router.acquire(HELLO, "routed", None)).live.number == 2


def test_a_request_during_the_shutdown_is_rejected():
    versions = Versions()
    router = versions.router()
    versions.live[1].close()
    with pytest.raises(Unavailable):
        asyncio.run(router.acquire(HELLO, "routed", None))


def test_the_properties_are_those_of_the_version_that_is_named():
    versions = Versions()
    service = VersionedChatService(versions.router(share=0.5))
    names = ("routed", "stable", 2)
    assert [service.select(name).fingerprint for name in names] == ["fp_1", "fp_1", "fp_2"]
    assert service.name == "shop"
    with pytest.raises(ModelNotFound):
        service.select(3)


def test_conversations_stay_with_the_version_of_their_last_answer():
    store = open_store("sqlite:///:memory:")
    versions = Versions(store=store)
    router = versions.router(share=0.5)
    service = VersionedChatService(router)
    ids = {}
    for number in (1, 2):
        ids[number] = store.create(title="", model="shop").id
        store.append(ids[number], [Message("user", "Hello")])
        store.append(ids[number], [Message("assistant", "Hi")], {"version": f"shop@{number}"})

    async def answering(conversation_id):
        lease = await service.acquire(ChatRequest(messages=HELLO.messages, conversation_id=conversation_id))
        lease.release()
        return lease.version.reference

    for _ in range(20):
        assert [asyncio.run(answering(ids[number])) for number in (1, 2)] == ["shop@1", "shop@2"]
    versions.swap(router, 1)  # the canary has ended
    assert asyncio.run(answering(ids[2])) == "shop@1"
    store.close()


class TestOutcomes:
    def count(self, versions, router, service, request=HELLO, error=None):
        async def run():
            await texts(service, request)

        if error is None:
            asyncio.run(run())
        else:
            with pytest.raises(error):
                asyncio.run(run())
        return router.outcomes.take()

    def test_completed_and_failed_answers_are_counted(self):
        versions = Versions()
        router = versions.router(share=0.000001)
        assert self.count(versions, router, VersionedChatService(router)) == {1: VersionOutcomes(answers=1)}
        assert self.count(versions, router, VersionedChatService(router)) == {}, "it is the same conversation"
        versions.swap(router, 1, share=0.000001)
        versions.services[1]._fail_after, versions.services[1]._failure = 1, TurnwiseError("The engine failed.")
        counts = self.count(versions, router, VersionedChatService(router), error=TurnwiseError)
        assert counts == {1: VersionOutcomes(answers=1, errors=1)}

    def test_faults_of_the_request_and_cancelled_requests_are_not_counted(self):
        versions = Versions()
        router = versions.router(share=0.000001)
        service = VersionedChatService(router)
        bad = ChatRequest(messages=HELLO.messages, sampling={"temperature": -1})
        assert self.count(versions, router, service, bad, InvalidParameter) == {}

        async def leave():
            async with aclosing(service.stream(HELLO)) as deltas:
                await anext(deltas)

        asyncio.run(leave())
        assert router.outcomes.take() == {}

    def test_an_answer_of_a_version_that_was_named_is_not_counted(self):
        versions = Versions()
        router = versions.router(share=0.5)
        assert self.count(versions, router, VersionedChatService(router, "stable")) == {}
        assert self.count(versions, router, VersionedChatService(router, 2)) == {}

    def test_ratings_count_for_the_version_that_answered(self):
        versions = Versions()
        router = versions.router(share=0.5)
        service = VersionedChatService(router)
        for number, reference in enumerate(["shop@2", "shop@7"]):
            id = AnswerReference("message", f"msg_{number}")
            service.record_rating(AnswerOrigin(id, reference, f"{number}"), -1, None)
        assert router.outcomes.take() == {2: VersionOutcomes(rated=1, disliked=1)}

    def test_ratings_of_answers_whose_version_was_named_do_not_count(self):
        versions = Versions()
        router = versions.router(share=0.5)
        origin = AnswerOrigin(AnswerReference("message", "msg_1"), "shop@2", "a", is_routed=False)
        VersionedChatService(router).record_rating(origin, -1, None)
        assert router.outcomes.take() == {}

    @pytest.mark.parametrize(("selector", "counts"), [("routed", 1), ("stable", 0), (2, 0)])
    def test_an_answer_that_reached_the_time_limit_has_failed(self, selector, counts):
        """Else a version that hangs would never be called worse. It is counted once."""
        versions = Versions(delay=10)
        router = versions.router(share=0.000001)
        service = VersionedChatService(router, selector)

        async def run():
            lease = await service.acquire(HELLO)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await texts(lease.service)
            lease.record_timeout()
            lease.record_timeout()
            lease.release()

        asyncio.run(run())
        assert router.outcomes.take() == ({1: VersionOutcomes(answers=1, errors=1)} if counts else {})

    @pytest.mark.parametrize(("selector", "is_routed"), [("routed", True), ("stable", False), (2, False)])
    def test_answers_say_whether_the_request_named_the_version(self, selector, is_routed):
        versions = Versions()
        service = VersionedChatService(versions.router(share=0.000001), selector)

        async def run():
            lease = await service.acquire(HELLO)
            await texts(lease.service)
            lease.release()
            return lease.version

        version = asyncio.run(run())
        [request] = versions.services[int(version.reference[-1])].requests
        assert (version.is_routed, request.is_routed) == (is_routed, is_routed)


class TestShadow:
    async def finish(self, router):
        await asyncio.gather(*router.shadow_traffic._tasks)

    def test_it_gets_a_copy_after_the_answer_without_the_conversation(self):
        store = open_store("sqlite:///:memory:")
        id = store.create(title="", model="shop").id
        versions = Versions(store=store)
        router = versions.router(shadow=True)

        async def run():
            request = ChatRequest(messages=HELLO.messages, conversation_id=id)
            assert await texts(VersionedChatService(router), request) == "I am 1"
            await self.finish(router)

        asyncio.run(run())
        [copied] = versions.services[3].requests
        assert copied.messages == HELLO.messages
        assert copied.conversation_id is None
        assert copied.scheduling.priority == SHADOW_PRIORITY
        assert [stored.message.content for stored in store.get(id).messages] == ["Hello", "I am 1"]
        assert router.outcomes.take() == {1: VersionOutcomes(answers=1), 3: VersionOutcomes(answers=1)}
        store.close()

    @pytest.mark.parametrize("failure", [TurnwiseError("It failed."), RuntimeError("It failed.")])
    def test_its_failures_are_counted_and_seen_by_nobody(self, failure):
        versions = Versions()
        versions.services[3]._fail_after, versions.services[3]._failure = 1, failure
        router = versions.router(shadow=True)

        async def run():
            assert await texts(VersionedChatService(router)) == "I am 1"
            await self.finish(router)

        asyncio.run(run())
        assert router.outcomes.take()[3] == VersionOutcomes(answers=1, errors=1)
        assert versions.live[3].num_requests == 0

    def test_copies_are_dropped_while_it_is_busy_and_answers_do_not_wait_for_it(self):
        versions = Versions()
        router = versions.router(shadow=True)
        may_answer = asyncio.Event()

        async def run():
            original = versions.services[3].stream

            async def slow_stream(request):
                await may_answer.wait()
                async for delta in original(request):
                    yield delta

            versions.services[3].stream = slow_stream
            answers = [await texts(VersionedChatService(router)) for _ in range(MAX_WAITING + 5)]
            assert answers == ["I am 1"] * (MAX_WAITING + 5)
            may_answer.set()
            await self.finish(router)

        asyncio.run(run())
        assert len(versions.services[3].requests) == MAX_WAITING
        assert router.shadow_traffic.num_dropped == 5

    def test_a_request_that_is_cancelled_is_not_copied(self):
        versions = Versions(delay=0.001)
        router = versions.router(shadow=True)

        async def run():
            async with aclosing(VersionedChatService(router).stream(HELLO)) as deltas:
                await anext(deltas)
            await self.finish(router)

        asyncio.run(run())
        assert versions.services[3].requests == []
