"""Health check of the container: exit code 0 if `/readyz` says that a clip can be answered."""

from __future__ import annotations

import http.client
import os
import sys

TIMEOUT_SECONDS = 2.0
"""Longest wait for the answer (s); the check as a whole gets 3."""


def main() -> int:
    """Ask the service in this container; prints why it is not ready."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", int(os.environ["DPDF_PORT"]), timeout=TIMEOUT_SECONDS
    )
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        body = answer.read(2000).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        sys.stdout.write(f"no answer: {error}\n")
        return 1
    finally:
        connection.close()
    sys.stdout.write(f"{answer.status} {body}\n")
    return 0 if answer.status == http.client.OK else 1


if __name__ == "__main__":
    sys.exit(main())
