"""Paged KV cache: block pool, block tables and the prefix cache (Kwon et al. 2023; Zheng et al. 2024)."""
