"""Faults between the operator and those it talks to: a proxy that holds, drops and remembers."""
