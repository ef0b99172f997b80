"""Tokenizers of Hugging Face folders: text to token ids and back, vocabulary bytes, BPE training."""
