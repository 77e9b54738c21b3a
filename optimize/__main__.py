"""`python -m optimize`: the same as the command `larndsim-optimize`."""

from __future__ import annotations

import sys

from .cli import main

sys.exit(main())
