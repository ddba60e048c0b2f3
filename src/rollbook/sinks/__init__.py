"""The tracking APIs we deliver to: the only importer of `httpx`."""
