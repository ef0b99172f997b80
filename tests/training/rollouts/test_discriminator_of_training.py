"""The prompts that a discriminator is trained on are those that it scores afterwards."""

import pytest

from discriminator_samples import make_copy
from turnwise.app.discriminators import open_discriminator
from turnwise.core.exchanges import last_reply
from turnwise.core.reply_scoring import ScoredReply
from turnwise.data.sources import DataSource
from turnwise.training.rollouts.guards import GuardLimits
from turnwise.training.rollouts.sampled_rollouts import SampledRollouts

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.costly
def test_human_replies_of_the_training_data_have_the_scores_of_training(
    trainer, recipe, valid_chats, tiny_model, tokenizer, tmp_path
):
    plan = trainer(recipe(max_seq_len=128)).plan
    limits = GuardLimits(distinct_2_fall=1, length_drift=1, gate_pass_fall=1, loss_rise=1)
    rollouts = SampledRollouts(plan, max_reply_tokens=8, num_validation_prompts=0, limits=limits)
    valid = plan.data.valid
    prompts = [rollouts.prompt(valid.example(index)) for index in valid.epoch_indices(0).tolist()]
    discriminator = make_copy(tiny_model, tokenizer)
    expected = dict(
        zip([p.human.reply for p in prompts], discriminator.scores([p.human for p in prompts]).tolist(), strict=True)
    )
    discriminator.save(tmp_path / "discriminator")
    exchanges = [last_reply(dialogue) for dialogue in DataSource(valid_chats)]
    replies = [ScoredReply(history, reply) for history, reply in exchanges if reply in expected]
    assert replies
    scores = open_discriminator(tmp_path / "discriminator").score(replies)
    assert scores == pytest.approx([expected[reply.reply] for reply in replies], abs=1e-4)
