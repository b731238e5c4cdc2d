"""The HTTP face: predictions on demand, probes, metrics, and the documentation of it all."""

from consumer.web.app import create_app
from consumer.web.connection import Bounds
from consumer.web.server import WebServer
from consumer.web.waiting import Submit

__all__ = ["Bounds", "Submit", "WebServer", "create_app"]
