"""Tests of `rollbook.kube` against a small real HTTP server."""
