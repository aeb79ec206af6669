"""Features and clips made by a Ray cluster: groups of work go to pools of actors, what they make comes back as bytes.

The process that was started is the only one that writes the run folder. What is made is keyed by content, so a group
that is made twice, because its machine was lost, is the same group.
"""
