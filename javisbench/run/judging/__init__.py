"""Asking judges: where they are (`endpoint`, `local_model`), what is asked of each clip (`case`), what that would cost
(`forecast`), how many are asked at once (`asking`), what they said (`answers`), and the stage of a job (`stage`).
"""
