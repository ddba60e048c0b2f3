"""Unit tests of the operator's edges."""
