"""`python -m simenv` is the command `simenv`."""

import os
import sys

# `python -m` looks for every module in the working directory first; a yaml.py or torch.py that lies there is not ours.
if not sys.flags.safe_path and sys.path and sys.path[0] in ("", os.getcwd()):  # noqa: PTH109
    del sys.path[0]

from simenv.scenarios.cli import main

if __name__ == "__main__":
    main()
