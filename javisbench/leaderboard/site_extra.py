"""The packages that draw plots and pages, which are an extra: asked for before any work begins."""

from __future__ import annotations

import importlib.util

from javisbench.errors import UsageError

CHARTS = ("altair", "markdown_it", "vl_convert")
"""What draws the plots of a site and reads its introduction."""
FIGURES = ("matplotlib",)
"""What draws the pictures of one clip and of one comparison."""


def require_site_extra(packages: tuple[str, ...], what: str) -> None:
    """Refuse to begin what would fail at its end.

    Args:
        packages: import names; nothing is imported.
        what: needs them, as the message's subject (``A board``).

    Raises:
        UsageError: one of them is not installed.
    """
    lacking = [name for name in packages if importlib.util.find_spec(name) is None]
    if lacking:
        names, be = " and ".join(lacking), "is" if len(lacking) == 1 else "are"
        raise UsageError(f'{what} needs {names}, which {be} not installed: pip install "javisbench[site]"')
