"""Run a notebook to its end without any network: `python run_notebook.py NOTEBOOK OUT PORT`.

Kernel and client talk through sockets in the working folder. `PORT` is one that listens on this machine: where it can
be reached there is a network, and nothing is run.
"""

import socket
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config


def main(notebook: str, out: str, port: str) -> None:
    try:
        socket.create_connection(("127.0.0.1", int(port)), timeout=5).close()
    except OSError:
        pass
    else:
        sys.exit("there is a network here")
    settings = Config({"KernelManager": {"transport": "ipc"}})
    cells = nbformat.read(notebook, as_version=4)
    client = NotebookClient(cells, timeout=500, startup_timeout=300, kernel_name="python3", config=settings)
    try:
        client.execute()
    finally:
        Path(out).write_text(nbformat.writes(cells))


if __name__ == "__main__":
    main(*sys.argv[1:])
