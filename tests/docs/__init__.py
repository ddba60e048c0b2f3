"""Documentation that is made from the code, and the check that it still says the same."""
