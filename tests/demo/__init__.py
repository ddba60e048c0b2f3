"""`python -m tests.demo`: Rollbook at work on a real control plane, told as it goes, and checked."""
