"""Tests on a real control plane, and of whole processes."""
