"""Tests that need no control plane."""
