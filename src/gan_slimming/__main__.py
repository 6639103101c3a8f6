"""python -m gan_slimming: the same as the command gan-slimming."""

import sys

from gan_slimming.cli import main

sys.exit(main())
