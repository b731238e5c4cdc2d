"""``python -m producer_tools`` is ``image-tools``."""

import sys

from producer_tools.cli import main

sys.exit(main())
