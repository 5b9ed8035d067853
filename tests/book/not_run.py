"""The commands of the pages that are not run, and what covers each: long builds, and what the test itself is part of."""

NOT_RUN = {}
