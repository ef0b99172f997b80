"""GGUF files (ggml, llama.cpp) as model folders: header, config, tokenizer, weights and the converted folder."""
