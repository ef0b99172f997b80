"""The prompt library: versioned system prompts with variables, and their comparison."""
