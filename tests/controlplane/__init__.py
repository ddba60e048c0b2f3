"""A real Kubernetes control plane for tests, demos and benchmarks; README.md says how to use it."""
