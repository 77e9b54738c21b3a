"""`python -m larndsim`: the same as the command `larndsim`."""

from __future__ import annotations

import sys

from .cli import main

sys.exit(main())
