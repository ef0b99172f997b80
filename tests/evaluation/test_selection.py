"""Response selection: fair questions, and a score that means something."""

from dataclasses import replace

import pytest
import torch

from turnwise.core.errors import InvalidData
from turnwise.core.messages import Conversation, Message
from turnwise.data.batches import collate
from turnwise.evaluation import selection
from turnwise.evaluation.selection import measure_selection, questions
from turnwise.models.checkpoint import create
from turnwise.training.objective import Frame
from turnwise.training.objectives import OBJECTIVES
from turnwise.training.predict import summed_loss


class TestQuestions:
    def test_the_true_reply_stands_first_among_others_without_duplicates(self, desk):
        asked = questions(desk)
        assert len(asked) == len(desk)
        for conversation, question in zip(desk, asked, strict=True):
            assert question.history == conversation.messages[:-1]
            assert question.replies[0] == conversation.messages[-1].content
            assert len(set(question.replies)) == len(question.replies) == 20

    def test_half_of_the_distractors_share_the_intent(self, desk):
        for conversation, question in zip(desk, questions(desk), strict=True):
            near = [reply.startswith(conversation.meta["intent"]) for reply in question.replies[1:]]
            assert all(near[:9])
            assert not all(near[9:])

    def test_a_seed_asks_the_same_questions(self, desk):
        assert questions(desk, seed=4) == questions(desk, seed=4)
        assert questions(desk, seed=4) != questions(desk, seed=5)

    def test_replies_that_many_dialogues_share_are_drawn_once(self, desk):
        thanks = Conversation((Message("user", "bye"), Message("assistant", "Thank you!")), {"intent": "order"})
        for question in questions([*desk, *[thanks] * 40]):
            assert len(set(question.replies)) == 20

    @pytest.mark.parametrize("meta", [{}, {"intent": None}, {"intent": ""}])
    def test_without_intents_all_distractors_are_random(self, desk, meta):
        plain = [Conversation(talk.messages, meta) for talk in desk]
        others = [reply for question in questions(plain) for reply in question.replies[1:]]
        for intent in ("order", "lamp", "park"):
            assert 0.25 < sum(reply.startswith(intent) for reply in others) / len(others) < 0.42

    def test_a_rare_intent_is_filled_up_with_others(self, desk):
        lonely = Conversation((Message("user", "tea?"), Message("assistant", "Gladly.")), {"intent": "tea"})
        (question,) = [q for q in questions([*desk, lonely]) if q.replies[0] == "Gladly."]
        assert len(set(question.replies)) == 20

    def test_only_the_last_assistant_turn_is_asked_for(self, desk):
        talk = Conversation(
            (*desk[0].messages, Message("user", "Thanks"), Message("assistant", "Bye"), Message("user", "!"))
        )
        (question,) = [q for q in questions([*desk, talk]) if q.replies[0] == "Bye"]
        assert question.history == talk.messages[:3]

    def test_too_few_replies_are_refused(self, desk):
        with pytest.raises(InvalidData, match="needs 20 different replies, the data has 19"):
            questions(desk[:19])


class TestRanking:
    def test_a_model_that_has_learned_the_answers_finds_them_and_a_new_one_guesses(self, renderer, tiny_config):
        letters = "abcdefghijklmnopqrstuvwxyz"
        riddles = [
            Conversation((Message("user", letter), Message("assistant", letters[(7 * i + 3) % 26])))
            for i, letter in enumerate(letters)
        ]
        # With so few dimensions the usual small first weights would take long to leave their corner.
        loaded = create(replace(tiny_config, initializer_range=0.15), seed=1)
        model, sft, frame = loaded.decoder, OBJECTIVES.make("sft"), Frame(renderer, 128)
        asked = questions(riddles)
        untrained = measure_selection(model, renderer, asked)
        assert untrained.recall_at_1 <= 4 / 26  # chance is 1.3 of 26
        assert (untrained.asked, untrained.candidates) == (26, 20)
        batch = collate([[example] for riddle in riddles for example in sft.examples(riddle, frame)], pad_id=0)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        for _ in range(30):
            (summed_loss(loaded, batch) / batch.counted).backward()
            optimizer.step()
            optimizer.zero_grad()
        assert measure_selection(model, renderer, asked).recall_at_1 >= 25 / 26

    def test_scores_are_the_mean_loss_of_the_reply_alone(self, desk, renderer, tiny_model):
        model = tiny_model.decoder
        question = questions(desk)[7]
        found = selection._losses(model, renderer, question)
        for reply, loss in zip(question.replies, found, strict=True):
            opened = renderer.render(question.history, add_generation_prompt=True).ids
            said = [*renderer.tokenizer.encode(reply), renderer.tokenizer.eos_id]
            with torch.inference_mode():
                logits = model.logits(model(torch.tensor([opened + said])))[0].log_softmax(dim=1)
            slow = -sum(logits[len(opened) - 1 + k, token].item() for k, token in enumerate(said)) / len(said)
            assert loss == pytest.approx(slow, rel=1e-5)

    def test_a_long_history_is_cut_from_its_beginning(self, desk, renderer, tiny_model):
        long = selection.Question((Message("user", "order " * 300),), tuple(t.messages[-1].content for t in desk[:5]))
        losses = selection._losses(tiny_model.decoder, renderer, long)
        assert all(0 < loss < 20 for loss in losses)

    @pytest.mark.parametrize(
        ("losses", "right"),
        [([1.0, 2.0, 3.0], 1), ([2.0, 1.0, 3.0], 0), ([1.0, 1.0, 3.0], 0), ([float("nan"), 1.0, 2.0], 0)],
    )
    def test_ties_and_numbers_that_are_none_count_as_wrong(self, monkeypatch, losses, right):
        monkeypatch.setattr(selection, "_losses", lambda *_: losses)
        asked = [selection.Question((), ("a", "b", "c"))]
        assert measure_selection(None, None, asked).right == right
