"""`python -m tests.docs`: write the pages that are made from the code."""

from tests.docs import settings

settings.PAGE.write_text(settings.page())
