"""The contract of a model family: every family in `families/` gives the logits of transformers."""

import json
import shutil

import pytest
import torch
import transformers
from family_cases import CASES, CONFIGS

from turnwise.core.errors import InvalidParameter, UserError
from turnwise.models.checkpoint import create, load, save
from turnwise.models.decoder import KeyValueCache
from turnwise.models.families import FAMILIES

B, T = 2, 24  # longer than every window in CONFIGS
EXACT = {"dtype": torch.float32}
close = {"rtol": 0, "atol": 1e-4}
each_case = pytest.mark.parametrize(("family", "case"), CASES)


def random_ids(seed=0, rows=B, length=T):
    return torch.randint(0, 96, (rows, length), generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def decoder_logits(model, ids):
    return model.decoder.logits(model.decoder(ids))


@torch.inference_mode()
def hf_logits(model, ids):
    return model(ids).logits


class Cache(KeyValueCache):
    """Concatenates keys and values, one tensor per layer."""

    def __init__(self):
        self.by_layer = {}

    def update(self, layer, keys_BKTD, values_BKTD):
        new = torch.stack((keys_BKTD, values_BKTD))
        self.by_layer[layer] = torch.cat((self.by_layer[layer], new), dim=-2) if layer in self.by_layer else new
        return self.by_layer[layer][0], self.by_layer[layer][1]


def test_every_family_has_test_configs():
    assert set(CONFIGS) == set(FAMILIES.names())


@each_case
class TestContract:
    def test_logits_equal_those_of_transformers(self, published, family, case):
        folder, hf_model = published(family, case)
        ids = random_ids()
        torch.testing.assert_close(decoder_logits(load(folder, **EXACT), ids), hf_logits(hf_model, ids), **close)

    def test_a_saved_model_loads_with_the_same_logits(self, published, family, case, tmp_path):
        model = load(published(family, case)[0], **EXACT)
        save(model, tmp_path / "saved")
        again = load(tmp_path / "saved", **EXACT)
        assert again.decoder.config == model.decoder.config
        assert torch.equal(decoder_logits(again, random_ids()), decoder_logits(model, random_ids()))

    def test_transformers_loads_a_saved_model_with_the_same_logits(self, published, family, case, tmp_path):
        folder, hf_model = published(family, case)
        save(load(folder, **EXACT), tmp_path / "saved")
        opened = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "saved", dtype=torch.float32)
        torch.testing.assert_close(hf_logits(opened, random_ids()), hf_logits(hf_model, random_ids()), **close)

    def test_transformers_loads_a_new_model_with_the_same_logits(self, published, family, case, tmp_path):
        config = load(published(family, case)[0], **EXACT).decoder.config
        model = create(config, seed=3)
        save(model, tmp_path / "made")
        opened = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "made", dtype=torch.float32)
        torch.testing.assert_close(decoder_logits(model, random_ids()), hf_logits(opened, random_ids()), **close)
        assert load(tmp_path / "made", **EXACT).decoder.config == config

    def test_configs_of_older_transformers_versions_give_the_same_logits(
        self, published, family, case, tmp_path, edit_json
    ):
        folder, hf_model = published(family, case)
        shutil.copytree(folder, tmp_path / "older")
        path = tmp_path / "older" / "config.json"
        rope = json.loads(path.read_text()).get("rope_parameters") or {}
        scaling = {key: value for key, value in rope.items() if key != "rope_theta"}
        edit_json(
            path,
            rope_theta=rope.get("rope_theta"),
            rope_scaling=scaling if scaling.get("rope_type", "default") != "default" else None,
            rope_parameters=None,
            layer_types=None if family != "qwen2" else json.loads(path.read_text())["layer_types"],
            torch_dtype="float32",
            dtype=None,
        )
        torch.testing.assert_close(
            decoder_logits(load(tmp_path / "older", **EXACT), random_ids()), hf_logits(hf_model, random_ids()), **close
        )

    def test_decoding_token_by_token_equals_one_forward_pass(self, published, family, case):
        model = load(published(family, case)[0], **EXACT)
        ids, cache = random_ids(), Cache()
        with torch.inference_mode():
            steps = [
                model.decoder(ids[:, t : t + 1], positions_BT=torch.full((B, 1), t), cache=cache) for t in range(T)
            ]
            torch.testing.assert_close(
                model.decoder.logits(torch.cat(steps, dim=1)), decoder_logits(model, ids), **close
            )

    @pytest.mark.parametrize("chunk", [3, 7, T])
    def test_prefill_in_chunks_equals_one_forward_pass(self, published, family, case, chunk):
        model = load(published(family, case)[0], **EXACT)
        ids, cache, hidden_chunks = random_ids(), Cache(), []
        with torch.inference_mode():
            for start in range(0, T, chunk):
                end = min(start + chunk, T)
                positions = torch.arange(start, end).expand(B, -1)
                mask = (torch.arange(end) <= positions.unsqueeze(-1)).unsqueeze(1)
                hidden_chunks.append(model.decoder(ids[:, start:end], positions_BT=positions, mask=mask, cache=cache))
            torch.testing.assert_close(
                model.decoder.logits(torch.cat(hidden_chunks, dim=1)), decoder_logits(model, ids), **close
            )

    def test_rows_do_not_affect_each_other(self, published, family, case):
        model = load(published(family, case)[0], **EXACT)
        ids = random_ids()
        alone = decoder_logits(model, ids[:1])
        torch.testing.assert_close(decoder_logits(model, ids)[:1], alone, **close)
        torch.testing.assert_close(decoder_logits(model, torch.stack((ids[0], ids[1].flip(0))))[:1], alone, **close)

    def test_later_tokens_do_not_affect_earlier_logits(self, published, family, case):
        model = load(published(family, case)[0], **EXACT)
        ids = random_ids()
        changed = ids.clone()
        changed[:, 10:] = 0
        torch.testing.assert_close(decoder_logits(model, ids)[:, :10], decoder_logits(model, changed)[:, :10], **close)

    def test_bfloat16_logits_are_close(self, published, family, case):
        folder, _ = published(family, case)
        bfloat16_model = load(folder, dtype=torch.bfloat16)
        assert {parameter.dtype for parameter in bfloat16_model.decoder.parameters()} == {torch.bfloat16}
        exact = decoder_logits(load(folder, **EXACT), random_ids()).log_softmax(-1)
        distance = (
            decoder_logits(bfloat16_model, random_ids()).float().log_softmax(-1) - exact
        ).abs().mean() / exact.std()
        assert distance < 0.1


def test_the_sliding_window_changes_the_logits(published, edit_json, tmp_path):
    """Without this, the cases above would also pass if the window were ignored."""
    for family, case in CASES:
        if "windowed" not in case:
            continue
        model = load(published(family, case)[0], **EXACT)
        config = model.decoder.config
        assert config.windowed_layers
        assert config.sliding_window < T
        ids = random_ids()
        changed = ids.clone()
        changed[:, 0] = (ids[:, 0] + 1) % 96
        depth = 1 + (config.sliding_window - 1) * config.num_layers
        if len(config.windowed_layers) == config.num_layers and depth < T:
            assert torch.equal(decoder_logits(model, ids)[:, depth:], decoder_logits(model, changed)[:, depth:])
        full_attention = create(
            config.__class__(**{**_fields(config), "sliding_window": None, "windowed_layers": frozenset()})
        )
        full_attention.decoder.load_state_dict(model.decoder.state_dict())
        assert not torch.allclose(decoder_logits(model, ids), decoder_logits(full_attention, ids), atol=1e-3)


def _fields(config):
    return {name: getattr(config, name) for name in config.__dataclass_fields__}


def test_gpt2_tensor_names_may_lack_the_prefix(published, tmp_path):
    from safetensors.torch import load_file, save_file

    folder, hf_model = published("gpt2", "tied")
    shutil.copytree(folder, tmp_path / "bare")
    weights = {name.removeprefix("transformer."): t for name, t in load_file(folder / "model.safetensors").items()}
    weights["h.0.attn.bias"] = torch.ones(1, 1, 64, 64).tril()  # the mask that older files contain
    save_file(weights, tmp_path / "bare" / "model.safetensors")
    torch.testing.assert_close(
        decoder_logits(load(tmp_path / "bare", **EXACT), random_ids()), hf_logits(hf_model, random_ids()), **close
    )


@pytest.mark.parametrize(
    ("family", "case", "changes", "message"),
    [
        ("llama", "untied", {"hidden_act": "relu"}, "'relu' is not supported"),
        ("llama", "untied", {"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "'yarn' is not supported"),
        ("llama", "untied", {"rope_scaling": {"type": "dynamic"}, "rope_parameters": None}, "'dynamic'"),
        ("llama", "untied", {"partial_rotary_factor": 0.5}, "part of a head"),
        ("llama", "untied", {"rope_parameters": {"full_attention": {"rope_theta": 1.0}}}, "by layer"),
        ("llama", "untied", {"quantization_config": {"quant_method": "gptq"}}, "quantized"),
        ("llama", "untied", {"num_key_value_heads": 3}, "must be a multiple of 'num_kv_heads'"),
        ("llama", "untied", {"head_dim": 7}, "even head size"),
        ("llama", "untied", {"hidden_size": "wide"}, "'hidden_size' should be"),
        ("llama", "untied", {"num_attention_heads": 0}, "'num_attention_heads' should be"),
        ("llama", "untied", {"vocab_size": -3}, "'vocab_size' should be"),
        ("llama", "untied", {"vocab_size": None}, "lacks 'vocab_size'"),
        ("llama", "untied", {"num_attention_heads": 0, "head_dim": None}, "'num_attention_heads' should be"),
        (
            "llama",
            "untied",
            {"rms_norm_eps": "small", "rope_theta": "x", "rope_parameters": None},
            "'rms_norm_eps' should be",
        ),
        ("mistral", "windowed", {"layer_types": ["full_attention"] * 4}, "'layer_types'"),
        ("qwen2", "full attention", {"layer_types": ["full_attention"] * 3}, "has 3 entries; the model has 4 layers"),
        ("qwen2", "full attention", {"layer_types": ["chunked_attention"] * 4}, "'chunked_attention'"),
        ("qwen2", "full attention", {"layer_types": ["sliding_attention"] * 4}, "no 'sliding_window'"),
        ("smollm3", "every fourth", {"no_rope_layers": [1, 0]}, "has 2 entries; the model has 4 layers"),
        ("gpt2", "tied", {"activation_function": "relu"}, "'relu' is not supported"),
        ("gpt2", "tied", {"scale_attn_by_inverse_layer_idx": True}, "'scale_attn_by_inverse_layer_idx'"),
        ("gpt2", "tied", {"scale_attn_weights": False}, "'scale_attn_weights'"),
        ("gpt2", "tied", {"add_cross_attention": True}, "'add_cross_attention'"),
    ],
)
def test_an_unsupported_config_is_rejected_by_its_field(published, tmp_path, edit_json, family, case, changes, message):
    shutil.copytree(published(family, case)[0], tmp_path / "unsupported")
    edit_json(tmp_path / "unsupported" / "config.json", **changes)
    with pytest.raises(UserError, match=message) as caught:
        load(tmp_path / "unsupported", **EXACT)
    assert "config.json" in str(caught.value) or "quantized" in message


def test_an_unknown_model_type_is_rejected_with_a_suggestion(published, tmp_path, edit_json):
    shutil.copytree(published("llama", "untied")[0], tmp_path / "unsupported")
    edit_json(tmp_path / "unsupported" / "config.json", model_type="lama")
    with pytest.raises(UserError, match=r"'lama' are not supported; did you mean 'llama'\?"):
        load(tmp_path / "unsupported")


def test_a_decoder_config_rejects_sizes_that_do_not_match(tiny_config):
    with pytest.raises(InvalidParameter, match="must be a multiple of 'num_kv_heads'"):
        tiny_config.__class__(**{**_fields(tiny_config), "num_kv_heads": 3})
