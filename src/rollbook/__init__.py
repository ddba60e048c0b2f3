"""Rollbook keeps the roll book of a Kubernetes cluster."""

from importlib.metadata import version

__version__ = version("rollbook")
