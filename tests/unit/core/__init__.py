"""Tests of the pure core: no fixtures, no await."""
