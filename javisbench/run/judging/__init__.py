"""Asking judges: where they are (`endpoint`, `local_model`), what they said (`answers`), and the stage (`stage`)."""
