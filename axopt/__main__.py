"""``python -m axopt``."""

import sys

from axopt.cli import main

sys.exit(main())
