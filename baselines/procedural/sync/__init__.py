"""Scenes with true event times, for judging metrics of synchrony.

`scene` says what a scene is, `families` lists the families; each is a function of a `Setting` in one of the other
modules. `timing`, `motion`, `picture`, `mixing`, `tools` and `bystanders` are what they share.
"""
