"""Imported once by the fork server, so that every worker starts warm.

Workers are forked from the process that imported this module: what is loaded and compiled here is
there at once in each of them and lies in memory once, and what reads or writes a file of its own
(matplotlib's list of fonts) still may. It must start no thread, because threads do not survive a
fork; hence one thread for every library, and the face tracker, which has threads of its own, is
started in the worker by `service.worker.prepare_worker`.
"""

from __future__ import annotations

import gc
import os

# Before numpy is imported for the first time: the workers are the parallelism.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ.setdefault("GLOG_minloglevel", "2")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def _warm_up() -> None:
    # Imported here, below the lines that these imports must find done.
    import encodings.utf_8_sig  # noqa: F401

    import safetensors.numpy  # noqa: F401

    from preprocessing import audio, face, features, openface_csv, tensors, timeline  # noqa: F401
    from service import reports, sandbox, worker_extraction, worker_limits  # noqa: F401

    audio.warm_up()
    features.default_tokenizer()
    worker_extraction.feature_schema_of_workers()
    sandbox.warm_up()
    # A worker's first full collection, after a thousand clips and more, would write to every object
    # made here, upon which each process has 60 MiB of its own that all have shared before.
    gc.collect()
    gc.freeze()


_warm_up()
