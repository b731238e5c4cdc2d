"""`python -m consumer` is `image-consumer`."""

import sys

from consumer.cli import main

sys.exit(main())
