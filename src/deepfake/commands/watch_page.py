"""What shows a watch: the page while it runs, and the report it leaves; the flags of both."""

from __future__ import annotations

import argparse
import re
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

from deepfake.commands.arguments import whole_number
from deepfake.detector.check import Band
from deepfake.detector.header import DetectorHeader
from deepfake.detector.verdict import detector_facts
from deepfake.errors import UserError
from deepfake.files import default_checks, printable, sha256_of, write_whole
from deepfake.live.hub import Hub
from deepfake.live.session import SessionSink
from deepfake.models.detector_file import shipped_weights
from deepfake.outputs import SCREEN, refuse_inputs, try_file
