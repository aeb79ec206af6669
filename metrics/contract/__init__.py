"""The contract that metrics and encoders keep, as checks that run on any of them (``javisbench metrics check``)."""

from javisbench.metrics.contract.report import Check, Report
from javisbench.metrics.contract.targets import check, targets

__all__ = ["Check", "Report", "check", "targets"]
