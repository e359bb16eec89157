"""Where work over many items is done: in worker processes of this machine, or by Spark.

A `Runner` maps a function over items within limits. To add a third, write one and give it a name in `open_runner` and
`settings.WorkEngine`.
"""

from deepfake.engines.runner import Runner, open_runner

__all__ = ["Runner", "open_runner"]
