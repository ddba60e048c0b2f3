"""The embedded tracking server."""
