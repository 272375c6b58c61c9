"""Features from media and tables into files: ``python -m preprocessing.prepare mosi ...``.

Each source becomes ``build/features/<source>.npz``, in the form that `model.corpus` documents. The
work is cut into parts that are computed in parallel and kept until the source is whole, so that a
run that was stopped goes on where it was. Parts are filed under the schema's fingerprint: features
made by other rules are never mixed in.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from model.corpus import Corpus, joined, load_corpus, save_corpus
from model.inputs import FeatureSchema, Sample
from preprocessing import audio, corpora, decode, schema
from preprocessing.clip import DecodeLimits
from preprocessing.corpora import READERS, Item
from preprocessing.errors import UndecodableClip
from preprocessing.face import enlarge_small_still
from preprocessing.features import default_tokenizer, extract, tracker
from preprocessing.schema import INTENSITY_COLUMNS
from preprocessing.tensors import audio_rows, face_rows, to_sample

PART = 64
"""Items a part: what a stopped run loses at most, a worker."""


def sample_of(item: Item, in_force: FeatureSchema) -> Sample:
    """Everything the item has, as the service would see it.

    Action unit means are held for the length of the sound, a row a step, with the face's shape
    unknown (NaN); a picture gives one row, or none where no face is found in it.
    """
    if item.clip is not None:
        return to_sample(extract(item.clip, item.text, limits=DecodeLimits()), in_force)
    ids = np.empty(0, np.int64)
    if item.text is not None:
        ids = default_tokenizer().encode(item.text).input_ids
    sound_rows = np.empty((0, len(in_force.audio_columns)), np.float32)
    if item.sound is not None:
        sound = decode.read_sound(item.sound, DecodeLimits())
        if sound is not None:
            sound_rows = audio_rows(audio.analyse(sound), in_force)
    video = np.empty((0, len(in_force.video_columns)), np.float32)
    if item.action_units is not None:
        video = np.full((max(1, len(sound_rows)), len(in_force.video_columns)), np.nan, np.float32)
        units = [in_force.video_columns.index(name) for name in INTENSITY_COLUMNS]
        video[:, units] = item.action_units
    elif item.picture is not None:
        video = _still_rows(item.picture, in_force)
    return Sample(ids, sound_rows, video)


def _still_rows(picture: bytes, in_force: FeatureSchema) -> NDArray[np.float32]:
    grey = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise UndecodableClip("The picture cannot be decoded; expected JPEG or PNG.")
    enlarged = enlarge_small_still(grey.astype(np.uint8))
    return face_rows(tracker().analyse_still(enlarged), in_force)


def compute_part(items: Sequence[Item], target: Path, in_force: FeatureSchema) -> None:
    """Write one part of a source, unless it is there already."""
    if target.exists():
        return
    part = Corpus(
        name=target.stem,
        schema=in_force,
        samples=[sample_of(item, in_force) for item in items],
        scores=np.array([item.score for item in items], np.float32),
        ids=np.array([item.name for item in items], np.str_),
        speakers=np.array([item.speaker for item in items], np.str_),
        splits=np.array([item.split for item in items], np.str_),
        texts=np.array([item.text or "" for item in items], np.str_),
    )
    save_corpus(target, part)


def prepare(
    name: str, items: Sequence[Item], out: Path, *, workers: int, in_force: FeatureSchema
) -> Path:
    """Compute a source's features and write ``out/<name>.npz``.

    Raises:
        PreprocessingError: an item's media cannot be used; the message names what is wrong.
    """
    parts = out / f"{name}-{in_force.fingerprint}"
    parts.mkdir(parents=True, exist_ok=True)
    chunks = [items[start : start + PART] for start in range(0, len(items), PART)]
    files = [parts / f"{index:05}.npz" for index in range(len(chunks))]
    work = partial(compute_part, in_force=in_force)
    # A fresh interpreter a worker: the tracker's threads do not survive a fork.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for _ in tqdm(pool.map(work, chunks, files), desc=name, total=len(chunks), disable=None):
            pass
    save_corpus(out / f"{name}.npz", joined([load_corpus(path) for path in files]))
    shutil.rmtree(parts)
    return out / f"{name}.npz"


def _chosen(options: argparse.Namespace) -> Iterator[tuple[str, list[Item]]]:
    for name in options.sources:
        if name in READERS:
            yield name, list(READERS[name](options.data))
        else:
            yield Path(name).stem, list(corpora.clips(Path(name)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare sources from the command line."""
    parser = argparse.ArgumentParser(prog="python -m preprocessing.prepare", description=__doc__)
    parser.add_argument(
        "sources",
        nargs="+",
        help=f"any of {', '.join(READERS)}, or a CSV of your own clips "
        "(columns file, text, score, split, speaker; files beside it)",
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("build/features"))
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(arguments)
    in_force = schema.feature_schema(default_tokenizer().sha256)
    for name, items in _chosen(options):
        prepare(name, items, options.out, workers=options.workers, in_force=in_force)


if __name__ == "__main__":
    main()
