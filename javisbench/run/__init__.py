"""Runs: folders that hold clips, features, scores and summaries, and what fills them."""
