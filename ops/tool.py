"""How a tool that is run as a module ends: by itself with its exit code, or in order when it is told to."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import NoReturn

INTERRUPTED, TERMINATED = 130, 143
"""As a shell says of a program that Ctrl-C or SIGTERM ended."""


def run(main: Callable[[], int]) -> NoReturn:
    """Ends with the exit code of ``main``. Ctrl-C and SIGTERM unwind it, so that what it started ends with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        code = main()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = INTERRUPTED
    sys.exit(code)
