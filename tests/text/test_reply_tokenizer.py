"""Which tokens a discriminator reads of a prompt and a reply."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.text.tokenization.reply_tokenizer import MIN_CONTEXT, PROMPT_TOKENIZER, ReplyTokenizer
from turnwise.text.tokenization.tokenizer import Tokenizer


@pytest.fixture(scope="session")
def bert_tokenizer(make_bert_folder):
    return Tokenizer.load(make_bert_folder())


@given(st.integers(40, 200), st.integers(0, 300), st.text(max_size=400))
def test_the_end_of_the_prompt_and_the_start_of_the_reply_fill_the_space(tokenizer, max_tokens, num_prompt, reply):
    replies = ReplyTokenizer(tokenizer, max_tokens)
    prompt_ids = [7 + number % 400 for number in range(num_prompt)]
    reply_ids = tokenizer.encode(reply.strip())
    ids = replies.encode(replies.encode_prompt(prompt_ids), reply)
    assert len(ids) == max(1, min(max_tokens, num_prompt + len(reply_ids)))
    num_reply = min(len(reply_ids), max(max_tokens // 2, max_tokens - min(num_prompt, MIN_CONTEXT)))
    if num_prompt + num_reply:
        context = ids[: len(ids) - num_reply]
        assert ids[len(context) :] == reply_ids[:num_reply]
        assert context == prompt_ids[num_prompt - len(context) :]


def test_an_encoder_reads_prompt_and_reply_with_its_own_start_and_end_tokens(tokenizer, bert_tokenizer):
    replies = ReplyTokenizer(bert_tokenizer, 40, tokenizer)
    prompt = replies.encode_prompt(tokenizer.encode("the lamp is broken"))
    cls, sep = (bert_tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]"))
    the, reset = bert_tokenizer.encode("the lamp is broken"), bert_tokenizer.encode("reset it")
    assert replies.encode(prompt, " reset it\n") == [cls, *the, sep, *reset, sep]
    assert len(replies.encode(prompt * 20, "reset it " * 30)) == 40


def test_special_tokens_of_the_prompt_are_no_text_for_an_encoder(tokenizer, bert_tokenizer):
    replies = ReplyTokenizer(bert_tokenizer, 40, tokenizer)
    ids = tokenizer.encode("the lamp")
    assert replies.encode_prompt([*ids, tokenizer.eos_token_id]) == replies.encode_prompt(ids)


def test_special_tokens_between_turns_separate_their_words(tokenizer, bert_tokenizer):
    replies = ReplyTokenizer(bert_tokenizer, 40, tokenizer)
    ids = [*tokenizer.encode("the lamp"), tokenizer.eos_token_id, *tokenizer.encode("is broken")]
    assert replies.encode_prompt(ids) == bert_tokenizer.encode("the lamp is broken")


def test_a_saved_tokenizer_of_prompts_is_used(tokenizer, bert_tokenizer, tmp_path):
    assert ReplyTokenizer.load(tmp_path, tokenizer, 40).generator_tokenizer is tokenizer
    tokenizer.save(tmp_path / PROMPT_TOKENIZER)
    loaded = ReplyTokenizer.load(tmp_path, bert_tokenizer, 40)
    ids = tokenizer.encode("the lamp is broken")
    assert loaded.encode_prompt(ids) == ReplyTokenizer(bert_tokenizer, 40, tokenizer).encode_prompt(ids)
    assert loaded.generator_tokenizer.chat_template == tokenizer.chat_template
