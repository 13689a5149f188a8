"""Observation: events of stores, jobs and executions, and the observers that take them."""

from valuestore.observe.adapters import LogObserver as LogObserver
from valuestore.observe.adapters import ProgressObserver as ProgressObserver
from valuestore.observe.adapters import PrometheusObserver as PrometheusObserver
from valuestore.observe.adapters import TraceObserver as TraceObserver
from valuestore.observe.adapters import open_observers as open_observers
from valuestore.observe.events import Audience as Audience
from valuestore.observe.events import Change as Change
from valuestore.observe.events import Event as Event
from valuestore.observe.events import JobEvent as JobEvent
from valuestore.observe.events import Observer as Observer
from valuestore.observe.events import RunWatch as RunWatch
from valuestore.observe.events import Watch as Watch
from valuestore.observe.events import is_failure as is_failure
from valuestore.observe.events import notify as notify
from valuestore.observe.events import watch as watch
