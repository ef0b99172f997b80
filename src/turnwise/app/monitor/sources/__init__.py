"""Sources of texts, one module per kind. Each continues from a position that the store keeps."""
