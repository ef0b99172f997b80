"""Encoders: hidden states equal those of transformers, and unsupported configs are rejected by name."""

import json

import pytest
import torch

from turnwise.core.errors import UserError
from turnwise.models.encoder import Encoder
from turnwise.models.encoder_config import parse_encoder_config
from turnwise.models.encoder_weights import EncoderCheckpoint
from turnwise.models.sentence_encoder_config import read_sentence_encoder_config

SIZES = {
    "vocab_size": 40, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 50,
    "max_position_embeddings": 20, "initializer_range": 0.3,
}  # fmt: skip


def transformers_model(name, **config):
    """A random encoder of transformers; biases are not zero."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    model = getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**SIZES | config)).eval()
    for parameter in model.parameters():
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, 0.5, 0.3)
    return model


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("Bert", {}),
        ("Bert", {"hidden_act": "gelu_new", "layer_norm_eps": 1e-5}),
        ("Roberta", {"pad_token_id": 1, "type_vocab_size": 1}),
        ("XLMRoberta", {"pad_token_id": 1}),
    ],
)
def test_hidden_states_equal_those_of_transformers(name, config, tmp_path):
    model = transformers_model(name, **config)
    model.save_pretrained(tmp_path)
    ids = torch.tensor([0, 7, 5, 5, 39, 2, 21])
    with torch.no_grad():
        expected = model(ids[None]).last_hidden_state[0]
    torch.testing.assert_close(Encoder(EncoderCheckpoint(tmp_path)).hidden_states(ids), expected, rtol=1e-5, atol=1e-5)


def test_the_tensors_of_a_model_with_a_head_have_a_prefix(tmp_path):
    model = transformers_model("Bert")
    renamed = {f"bert.{name}": tensor for name, tensor in model.state_dict().items()}
    model.save_pretrained(tmp_path, state_dict=renamed)
    ids = torch.tensor([3, 4, 5])
    with torch.no_grad():
        expected = model(ids[None]).last_hidden_state[0]
    torch.testing.assert_close(Encoder(EncoderCheckpoint(tmp_path)).hidden_states(ids), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model_type", "deberta"),
        ("position_embedding_type", "relative_key"),
        ("hidden_act", "relu"),
        ("is_decoder", True),
        ("num_attention_heads", 5),
        ("hidden_size", 0),
        ("max_position_embeddings", "many"),
    ],
)
def test_a_config_that_is_not_computed_is_rejected_by_name(field, value):
    config = {"model_type": "bert", **SIZES, field: value}
    with pytest.raises(UserError, match=field):
        parse_encoder_config(config, "config.json")


def test_a_missing_size_is_rejected_by_name():
    with pytest.raises(UserError, match="intermediate_size"):
        parse_encoder_config({"model_type": "bert", **{k: v for k, v in SIZES.items() if k[0] != "i"}}, "config.json")


def test_a_tensor_of_another_shape_is_rejected_by_name(make_bert_folder):
    with pytest.raises(UserError, match=r"intermediate.dense.weight"):
        EncoderCheckpoint(make_bert_folder(config={"intermediate_size": 64}))


def test_settings_of_sentence_transformers_are_read(make_bert_folder):
    folder = make_bert_folder(
        modules=[{"path": "", "type": "x.Transformer"}, {"path": "1_Pooling", "type": "x.Pooling"}],
        pooling={"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False},
        sentence_bert_config={"max_seq_length": 12, "do_lower_case": True},
        config_sentence_transformers={"prompts": {"query": "query: ", "document": "passage: "}},
    )
    config = read_sentence_encoder_config(folder)
    assert (config.pooling, config.max_length, config.is_lower_cased) == ("cls", 12, True)
    assert (config.prefixes, config.default_type) == ({"query": "query: ", "passage": "passage: "}, "query")


def test_without_a_default_and_a_passage_prefix_no_prefix_is_added(make_bert_folder):
    prompts = {"prompts": {"query": "Represent this: ", "document": ""}, "default_prompt_name": None}
    config = read_sentence_encoder_config(make_bert_folder(config_sentence_transformers=prompts))
    assert config.default_type is None


@pytest.mark.parametrize(
    ("modules", "pooling", "message"),
    [
        ([{"path": "2_Dense", "type": "x.Dense"}], {}, "Dense"),
        ([{"path": "1_Pooling", "type": "x.Pooling"}], {"pooling_mode_max_tokens": True}, "max_tokens"),
        ([{"path": "1_Pooling", "type": "x.Pooling"}], {"pooling_mode": "lasttoken"}, "lasttoken"),
        ({"a": 1}, {}, "list of modules"),
    ],
)
def test_other_modules_and_poolings_are_rejected_by_name(make_bert_folder, modules, pooling, message):
    with pytest.raises(UserError, match=message):
        read_sentence_encoder_config(make_bert_folder(modules=modules, pooling=pooling))


def test_a_pooling_path_does_not_leave_the_folder(make_bert_folder, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    modules = [{"path": str(tmp_path), "type": "x.Pooling"}]
    assert read_sentence_encoder_config(make_bert_folder(modules=modules)).pooling == "mean"
