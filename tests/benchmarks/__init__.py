"""Measures what docs/benchmarks.md promises."""
