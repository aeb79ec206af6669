"""What can go wrong with the Hugging Face hub."""

from __future__ import annotations


def hub_errors() -> tuple[type[Exception], ...]:
    """What the hub's library raises when it cannot be reached, refuses, or breaks off.

    Its own errors are OSErrors. A connection that breaks is an error of its HTTP client, which changes from version to
    version.
    """
    from huggingface_hub.errors import HfHubHTTPError

    clients = [base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception) and base is not Exception]
    return (OSError, *clients)
