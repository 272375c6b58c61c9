"""``python -m service``: the process, from environment variables to its exit code.

Exit codes: 0 after SIGTERM or SIGINT, 2 for settings that are out of form, 3 if the port cannot
be had, 70 if the device was lost and the process has to be started anew.
"""

from __future__ import annotations

import argparse
import atexit
import os
import sys
import tempfile
from typing import NoReturn

EXIT_SETTINGS = 2


def main(arguments: list[str] | None = None) -> int:
    """Run the service, or print its settings; returns the exit code."""
    # Imported here: every worker imports this module again, under another name.
    import structlog
    from pydantic import ValidationError

    from service.settings import Settings, secret_variables, settings_table, unknown_variables

    parser = argparse.ArgumentParser(prog="python -m service", description="Serve POST /predict.")
    parser.add_argument(
        "--settings", action="store_true", help="print all settings as a Markdown table and exit"
    )
    if parser.parse_args(arguments).settings:
        print(settings_table())
        return 0
    try:
        settings = Settings()
    except ValidationError as error:
        for problem in error.errors():
            name = "_".join(str(part) for part in problem["loc"]).upper()
            print(f"DPDF_{name}: {problem['msg']}", file=sys.stderr)
        return EXIT_SETTINGS

    # Kept in memory by the settings alone: processes that are started from here on decode
    # strangers' bytes, and would inherit it.
    for name in secret_variables(os.environ):
        del os.environ[name]

    # Importing transformers makes torch create a folder for compiled kernels, of which we have
    # none, in the temporary folder; one that exists already is left as it is.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", tempfile.gettempdir())
    # The workers keep all cores busy; a second thread of the model would spin for one of them.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # oneDNN would keep 1024 programs, one for each shape, some as large as a megabyte.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "400")

    from service.server import serve
    from service.telemetry import configure_logging

    configure_logging(settings)
    for name in unknown_variables(os.environ):
        structlog.stdlib.get_logger("service").warning(
            "an environment variable looks like a setting and is none", name=name
        )
    return serve(settings)


def run() -> NoReturn:
    """Run `main` and end the process, whatever its threads are doing.

    A model that is still being loaded when the process is told to stop is not waited for.
    """
    try:
        code = main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    run()
