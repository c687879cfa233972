"""`python -m nader.cli`, for where the script is not on the path."""

import sys

from nader.cli.app import main

sys.exit(main())
