"""Report the state of the outbox: the backlog and its age, the rates, and when the backlog will be empty."""

from ticketbottle_payctl.jobs.stats.collect import WINDOW, collect_stats
from ticketbottle_payctl.jobs.stats.forecast import followed, follower
from ticketbottle_payctl.jobs.stats.model import Drain, Lag, StatsReport, Tally
from ticketbottle_payctl.store.outbox.stats import By

__all__ = ["WINDOW", "By", "Drain", "Lag", "StatsReport", "Tally", "collect_stats", "followed", "follower"]
