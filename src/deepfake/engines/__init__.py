"""Where work over many items is done: in worker processes of this machine, or by Spark."""
