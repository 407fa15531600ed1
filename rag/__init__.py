"""promptwell: retrieval, context, prompts, answers and their evaluation."""
