"""``python -m axopt``."""

import sys

try:
    from axopt.cli import main
except KeyboardInterrupt:  # in the first moments, before the command line can handle it
    sys.stderr.write("axopt: interrupted\n")
    sys.exit(130)

sys.exit(main())
