"""Encoders that were trained are saved as transformers opens them, and packed rows equal single sequences."""

import pytest
import torch

from turnwise.models.encoder import Encoder
from turnwise.models.encoder_config import EncoderConfig
from turnwise.models.encoder_model import EncoderModel
from turnwise.models.encoder_weights import EncoderCheckpoint, RandomEncoderWeights
from turnwise.models.trainable_encoder import TrainableEncoder

SIZES = {"vocab_size": 40, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3,
         "intermediate_size": 50, "max_position_embeddings": 20}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "config"), [("Bert", {}), ("Roberta", {"pad_token_id": 1, "type_vocab_size": 1}), ("XLMRoberta", {})]
)
def test_a_saved_encoder_has_the_same_hidden_states_in_transformers(name, config, tmp_path):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    model = getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**SIZES | config)).eval()
    model.save_pretrained(tmp_path / "original")
    EncoderModel.load(tmp_path / "original").save(tmp_path / "saved", hf_config={})
    ids = torch.tensor([0, 7, 5, 39, 2])
    with torch.no_grad():
        expected = model(ids[None]).last_hidden_state[0]
        read = transformers.AutoModel.from_pretrained(tmp_path / "saved").eval()
        torch.testing.assert_close(read(ids[None]).last_hidden_state[0], expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(Encoder(EncoderCheckpoint(tmp_path / "saved")).hidden_states(ids), expected)


def test_packed_sequences_do_not_see_each_other():
    config = EncoderConfig(
        vocab_size=30, hidden_size=24, num_layers=2, num_heads=3, intermediate_size=40, num_positions=16
    )
    weights = RandomEncoderWeights(config)
    model, reference = EncoderModel(TrainableEncoder.from_weights(weights).eval()), Encoder(weights)
    ids_BT = torch.tensor([[5, 6, 7, 8, 9], [10, 11, 12, 0, 0]])
    segment_ids_BT = torch.tensor([[1, 1, 2, 2, 2], [3, 3, 3, 0, 0]])
    hidden_NC = model.hidden_states(
        ids_BT, segment_ids_BT > 0, segment_ids_BT=segment_ids_BT, positions_BT=torch.zeros_like(ids_BT)
    )
    expected = [reference.hidden_states(ids_BT[segment_ids_BT == segment]) for segment in (1, 2, 3)]
    torch.testing.assert_close(hidden_NC, torch.cat(expected), rtol=1e-4, atol=1e-5)
