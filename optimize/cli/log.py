"""Where the log goes while a command runs."""

from __future__ import annotations

import logging
import sys


def log_to_stderr() -> None:
    """Plain lines of our own log on stderr."""
    logger = logging.getLogger(__package__.partition(".")[0])
    logger.handlers = [logging.StreamHandler(sys.stderr)]
    logger.setLevel(logging.INFO)
    logger.propagate = False
