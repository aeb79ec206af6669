"""Suites as their authors publish them: which files a folder holds, and what each field of them means.

One module a suite, with a `SuiteLayout`; `javisbench.suite.SUITES` names it, and a card of the same name in
``data_cards/suites`` says where the data come from. Nothing of the data is in this package.
"""

from javisbench.suite_layouts.base import SuiteLayout

__all__ = ["SuiteLayout"]
