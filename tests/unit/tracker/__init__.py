"""Tests of the embedded tracker that need no server."""
