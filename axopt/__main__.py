"""``python -m axopt``."""

import sys

try:
    from axopt.cli import main

    code = main()
except KeyboardInterrupt:  # in the first moments, before the command line can handle it
    sys.stderr.write("axopt: interrupted\n")
    code = 130
sys.exit(code)
