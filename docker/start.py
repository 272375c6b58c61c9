"""First process of the container: lays out caches that may be written, then becomes the command.

The image's root file system may be read-only, yet numba and matplotlib want to write in the folders
from which they read their caches. So the files that the build made are copied from ``BAKED_CACHE``
to ``XDG_CACHE_HOME``, which is in memory. The command replaces this process and gets its signals.

    python docker/start.py COMMAND [ARGUMENT ...]
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path


def copy_caches(baked: Path, target: Path) -> None:
    """Copy the baked caches, unless a start before this one did.

    Raises:
        OSError: there are none, or the target cannot be written.
    """
    if target.exists():
        return
    # Made whole under another name, so that a start that was cut short leaves nothing half done.
    partial = target.with_name(f"{target.name}.{os.getpid()}")
    shutil.copytree(baked, partial)
    # The copy has the modes of the original, which may well be read-only.
    for path in (partial, *partial.rglob("*")):
        path.chmod(path.stat().st_mode | stat.S_IWUSR)
    partial.rename(target)


def main() -> None:
    """Prepare, then run the command in place of this process."""
    if len(sys.argv) < 2:
        sys.exit("start.py: no command is given")
    copy_caches(Path(os.environ["BAKED_CACHE"]), Path(os.environ["XDG_CACHE_HOME"]))
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - the command is the image's own


if __name__ == "__main__":
    main()
