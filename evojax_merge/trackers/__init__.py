"""Services and files that keep the numbers of many runs beside one another."""

from evojax_merge.trackers.base import Tracker, TrackerWarning
from evojax_merge.trackers.following import Tracking

__all__ = ["Tracker", "TrackerWarning", "Tracking"]
