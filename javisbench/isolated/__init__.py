"""Processes that read strangers' files: under limits, without the caller's data, and replaced when they die or hang.

`process` starts and confines them, `wire` is how they talk with their parent, `buffers` what they hand over.
"""
