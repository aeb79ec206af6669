"""Before a long run: what would fail, and what it would cost. After one: what its failures could have changed."""

from javisbench.run.doctor.bounds import Bound, bounds_of_run
from javisbench.run.doctor.examination import DoctorOptions, examine
from javisbench.run.doctor.findings import Finding, Report
from javisbench.run.doctor.forecast import Forecast

__all__ = ["Bound", "DoctorOptions", "Finding", "Forecast", "Report", "bounds_of_run", "examine"]
