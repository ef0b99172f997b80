"""Tiny configs of every family, with the keys of transformers."""

SMALL = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,  # large, so that a wrong sign or angle changes the logits
    "tie_word_embeddings": False,
}
GPT2 = {"vocab_size": 96, "n_embd": 32, "n_head": 4, "n_layer": 3, "n_positions": 64, "initializer_range": 0.2}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}

# Family → case → keys of its transformers config.
CONFIGS = {
    "llama": {
        "untied": SMALL,
        "tied": {**SMALL, "tie_word_embeddings": True},
        "biased": {**SMALL, "attention_bias": True, "mlp_bias": True},
        "separate head size": {**SMALL, "head_dim": 6},
        "one head per group": {**SMALL, "num_key_value_heads": 4},
        "linear rope": {**SMALL, "rope_parameters": {"rope_type": "linear", "rope_theta": 300.0, "factor": 3.0}},
        "llama3 rope": {**SMALL, "rope_parameters": LLAMA3_ROPE},
    },
    "mistral": {
        "windowed": {**SMALL, "sliding_window": 5},
        "full attention": {**SMALL, "sliding_window": None, "tie_word_embeddings": True},
    },
    "qwen2": {
        "full attention": SMALL,
        "upper windowed": {**SMALL, "use_sliding_window": True, "sliding_window": 5, "max_window_layers": 2},
        "listed windowed": {
            **SMALL,
            "use_sliding_window": True,
            "sliding_window": 4,
            "layer_types": ["sliding_attention", "full_attention"] * 2,
            "tie_word_embeddings": True,
        },
    },
    "qwen3": {
        "separate head size": {**SMALL, "head_dim": 16},
        "windowed": {
            **SMALL,
            "head_dim": 8,
            "use_sliding_window": True,
            "sliding_window": 5,
            "max_window_layers": 1,
            "attention_bias": True,
            "tie_word_embeddings": True,
        },
    },
    "smollm3": {
        "every fourth": {**SMALL, "tie_word_embeddings": True, "pad_token_id": 0},
        "every second": {**SMALL, "no_rope_layer_interval": 2, "attention_bias": True, "pad_token_id": 0},
        "listed windowed": {
            **SMALL,
            "no_rope_layers": [1, 0, 0, 1],
            "use_sliding_window": True,
            "sliding_window": 5,
            "mlp_bias": True,
            "pad_token_id": 0,
        },
    },
    "gpt2": {
        "tied": GPT2,
        "untied": {**GPT2, "tie_word_embeddings": False, "n_inner": 40, "activation_function": "gelu_pytorch_tanh"},
    },
}
CASES = [(family, case) for family, cases in CONFIGS.items() for case in cases]
