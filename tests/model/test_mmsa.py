"""MMSA feature files: what is read from them, and that nothing in them is ever run."""

from __future__ import annotations

import builtins
import io
import os
import pickle
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.f2py.crackfortran
import pytest

from model.checkpoint import read_header
from model.config import ENCODERS, PROFILES
from model.corpus import load_corpus
from model.training.mmsa import MMSAFormatError, main, read_mmsa, save_features
from model.training.plain_pickle import DEEPEST, RefusedPickleError, load_plain
from model.training.train import main as train_main

CLIPS, TOKENS, AUDIO_STEPS, VIDEO_STEPS = 3, 7, 11, 13
AUDIO_COLUMNS, VIDEO_COLUMNS = 5, 2


def columns(*, aligned: bool = False) -> dict[str, Any]:
    """Three clips: 4, 7 and 3 tokens; 2, 11 and 0 rows of sound; 5, 0 and 13 rows of face."""
    random = np.random.default_rng(3)
    bert = np.zeros((CLIPS, 3, TOKENS), np.float32)
    audio = np.zeros((CLIPS, AUDIO_STEPS, AUDIO_COLUMNS))
    vision = np.zeros((CLIPS, VIDEO_STEPS, VIDEO_COLUMNS), np.float32)
    for clip, (tokens, sounds, faces) in enumerate([(4, 2, 5), (7, 11, 0), (3, 0, 13)]):
        bert[clip, 0, :tokens] = [101, *range(2000, 2000 + tokens - 2), 102]
        bert[clip, 1, :tokens] = 1
        audio[clip, :sounds] = random.normal(size=(sounds, AUDIO_COLUMNS))
        vision[clip, :faces] = random.normal(size=(faces, VIDEO_COLUMNS))
    found = {
        "raw_text": np.array(["I like it", "no", "naïve, maybe"], object),
        "audio": audio,
        "vision": vision,
        "id": ["a$_$1", "a$_$2", "b$_$1"],
        "text": np.zeros((CLIPS, TOKENS, 4), np.float32),
        "text_bert": bert,
        "annotations": np.array(["Positive", "Negative", "Neutral"]),
        "classification_labels": np.array([2.0, 0.0, 1.0]),
        "regression_labels": np.array([2.4, -3.0, 0.0], np.float32),
    }
    if not aligned:
        found |= {"audio_lengths": [2, 11, 0], "vision_lengths": np.array([5, 0, 13])}
    return found


def written(folder: Path, content: object, protocol: int = 4) -> Path:
    path = folder / "features.pkl"
    path.write_bytes(pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_read(tmp_path: Path, protocol: int, aligned: bool) -> None:
    source = columns(aligned=aligned)
    content = {"train": source, "valid": source, "test": source}
    splits = read_mmsa(written(tmp_path, content, protocol))
    assert list(splits) == ["train", "valid", "test"]
    found = splits["valid"]
    assert [len(s.input_ids) for s in found.samples] == [4, 7, 3]
    assert [s.audio.shape for s in found.samples] == [(2, 5), (11, 5), (0, 5)]
    assert [s.video.shape for s in found.samples] == [(5, 2), (0, 2), (13, 2)]
    assert found.samples[0].input_ids.tolist() == [101, 2000, 2001, 102]
    assert found.samples[0].input_ids.dtype == np.int64
    np.testing.assert_array_equal(found.samples[1].audio, source["audio"][1].astype(np.float32))
    np.testing.assert_array_equal(found.samples[2].video, source["vision"][2])
    assert found.samples[1].audio.dtype == found.samples[2].video.dtype == np.float32
    np.testing.assert_array_equal(found.scores, source["regression_labels"])
    assert found.ids == ["a$_$1", "a$_$2", "b$_$1"]
    assert found.texts == ["I like it", "no", "naïve, maybe"]


def test_numpy_1_names_are_read(tmp_path: Path) -> None:
    old = pickle.dumps({"train": columns()}, 2).replace(b"numpy._core.", b"numpy.core.")
    path = tmp_path / "old.pkl"
    path.write_bytes(old)
    assert b"numpy._core" not in old
    assert len(read_mmsa(path)["train"].samples) == CLIPS


def test_values_that_are_missing(tmp_path: Path) -> None:
    source = columns()
    source["audio"][0, 1, 3] = -np.inf  # COVAREP's logarithm of 0
    source["vision"][0, 2] = 0  # a frame without a face
    source["vision"][2] = 0  # no face at all, whatever the length says
    found = read_mmsa(written(tmp_path, {"test": source}))["test"].samples
    assert np.argwhere(np.isnan(found[0].audio)).tolist() == [[1, 3]]
    assert np.flatnonzero(np.isnan(found[0].video).all(axis=1)).tolist() == [2]
    assert len(found[0].video) == 5
    assert len(found[2].video) == 0


def test_padding_of_aligned_files_on_either_side(tmp_path: Path) -> None:
    source = columns(aligned=True)
    source["audio"][0] = 0
    source["audio"][0, 3:6] = 1.5
    source["audio"][0, 4] = 0
    rows = read_mmsa(written(tmp_path, {"test": source}))["test"].samples[0].audio
    assert rows.shape == (3, AUDIO_COLUMNS)
    assert np.isnan(rows[1]).all()
    assert (rows[[0, 2]] == 1.5).all()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("text_bert", None, "has no 'text_bert'"),
        ("text_bert", np.zeros((CLIPS, 2, TOKENS)), r"shape \(3, 2, 7\)"),
        ("text_bert", np.full((CLIPS, 3, TOKENS), 0.5), "no token ids"),
        ("text_bert", np.full((CLIPS, 3, TOKENS), np.nan), "no token ids"),
        ("text_bert", np.tile([0, 1], (CLIPS, 3, 3)), "ones followed by zeros"),
        ("audio", np.zeros((CLIPS, 4)), "2-dimensional values of type float64"),
        ("audio", np.zeros((CLIPS + 1, 4, 2)), "4 entries for 3 regression_labels"),
        ("vision", [[[1.0], [2.0]], [[1.0]], [[3.0]]], "unequal lengths"),
        ("audio_lengths", [2, 12, 0], r"lengths that are not 0\.\.11"),
        ("audio_lengths", [2, -1, 0], r"lengths that are not 0\.\.11"),
        ("audio_lengths", [2, 3], "2 entries"),
        ("regression_labels", [1.0, 3.5, 0.0], "scores outside"),
        ("regression_labels", [1.0, float("nan"), 0.0], "scores outside"),
        ("regression_labels", ["a", "b", "c"], "values of type <U1"),
        ("regression_labels", "abc", "a str"),
        ("id", np.array("abc"), "a single value"),
        ("id", ["a", 2, "c"], "int among strings"),
        ("raw_text", ["a", "b"], "2 entries"),
    ],
)
def test_other_forms_are_refused(tmp_path: Path, key: str, value: object, said: str) -> None:
    source = columns()
    source[key] = value
    if value is None:
        del source[key]
    with pytest.raises(MMSAFormatError, match=said):
        read_mmsa(written(tmp_path, {"train": source}))


@pytest.mark.parametrize("content", [[1, 2], {"training": columns()}, {"train": [1]}])
def test_files_without_splits_are_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(MMSAFormatError):
        read_mmsa(written(tmp_path, content))


def test_conversion_is_read_by_training(tmp_path: Path) -> None:
    source = written(tmp_path, {"train": columns(), "test": columns()})
    target = tmp_path / "new" / "mosi.npz"
    assert main([str(source), "--out", str(target)]) == 0
    corpus = load_corpus(target)
    assert corpus.splits.tolist() == ["train"] * 3 + ["test"] * 3
    assert corpus.speakers.tolist() == ["a", "a", "b"] * 2
    assert len(corpus.schema.audio_columns) == AUDIO_COLUMNS
    expected = read_mmsa(source)["test"].samples
    for found, sample in zip(corpus.split("test").samples, expected, strict=True):
        np.testing.assert_array_equal(found.input_ids, sample.input_ids)
        np.testing.assert_array_equal(found.audio, sample.audio)
        np.testing.assert_array_equal(found.video, sample.video)
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("profile", ["paper-mosi", "paper-mosei"])
def test_the_paper_s_profiles_train_from_a_file_with_a_bert_from_a_folder(
    tmp_path: Path, tiny_encoder: Path, profile: str
) -> None:
    splits = {split: columns() for split in ("train", "valid", "test")}
    for split in splits.values():
        split["text_bert"][:, 0] %= ENCODERS["tiny-bert-test"].vocabulary
    source = written(tmp_path, splits)
    assert main([str(source), "--out", str(tmp_path / "features" / "mosi50.npz")]) == 0
    recipe = tmp_path / "paper.toml"
    recipe.write_text(
        f'name = "paper"\nprofile = "{profile}"\nloss = "mse"\nvalidations = 1\n'
        f'[changes]\nencoder = "tiny-bert-test"\naudio_columns = {AUDIO_COLUMNS}\n'
        f'video_columns = {VIDEO_COLUMNS}\n[[corpora]]\nname = "mosi50"\nselect = 1.0\n'
    )
    out = tmp_path / "run"
    train_main(
        [
            *(str(recipe), "--features", str(tmp_path / "features"), "--out", str(out)),
            *("--encoder", str(tiny_encoder), "--device", "cpu"),
        ]
    )
    trained = read_header(out / "paper.safetensors")
    assert trained.config == replace(
        PROFILES[profile],
        encoder="tiny-bert-test",
        audio_columns=AUDIO_COLUMNS,
        video_columns=VIDEO_COLUMNS,
    )
    assert {path.name for path in out.iterdir()} == {
        "paper.safetensors",
        "record.json",
        "curve.png",
    }


def test_conversion_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none.pkl"), "--out", str(tmp_path / "x.npz")]) == 1
    assert "none.pkl" in capsys.readouterr().err
    assert not (tmp_path / "x.npz").exists()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.int64).reshape(2, 3, 4),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(1, 0, 2),
        np.arange(12)[::2],
        np.array([1.5, -2.0], ">f4"),
        np.array([True, False]),
        np.array(7.0),
        np.zeros((0, 5), np.float16),
        np.array([["ab", "é\U0001f600"], ["", "d"]]),
        np.array([b"ab", b"c"]),
        np.array([["one", 2], [None, 0.5]], object),
        np.asfortranarray(np.array([["one", "two", "3"], ["4", "5", "6"]], object)),
    ],
    ids=str,
)
def test_arrays_come_back(tmp_path: Path, array: np.ndarray[Any, Any], protocol: int) -> None:
    found = load_plain(written(tmp_path, array, protocol))
    assert isinstance(found, np.ndarray)
    assert found.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_values_come_back(tmp_path: Path, protocol: int) -> None:
    shared = [1, 2.5]
    value = {"a": [shared, shared, (True, None)], 3: {"b": "é"}, "n": 10**30}
    assert load_plain(written(tmp_path, value, protocol)) == value
    scalars = [np.float32(0.5), np.int64(-7), np.bool_(True), np.str_("é")]
    assert load_plain(written(tmp_path, scalars, protocol)) == [0.5, -7, True, "é"]


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(
    ("function", "named"),
    [
        (os.system, r"(posix|nt)\.system"),
        (builtins.eval, r"(builtins|__builtin__)\.eval"),
        (builtins.exec, r"(builtins|__builtin__)\.exec"),
        (builtins.getattr, r"(builtins|__builtin__)\.getattr"),
        (numpy.f2py.crackfortran.myeval, r"numpy\.f2py\.crackfortran\.myeval"),
        (np.load, r"numpy\.load"),
        (np.fromfile, r"numpy.*fromfile"),
    ],
)
def test_nothing_is_called(
    tmp_path: Path, protocol: int, wrapped: bool, function: object, named: str
) -> None:
    trace = tmp_path / "trace"
    gadget: object = Calls(function, f"__import__('pathlib').Path({str(trace)!r}).touch()")
    if function is os.system:
        gadget = Calls(function, f"touch '{trace}'")
    if wrapped:
        gadget = {"train": columns() | {"id": np.array([gadget, "a", "b"], object)}}
    with pytest.raises(RefusedPickleError, match=named):
        read_mmsa(written(tmp_path, gadget, protocol))
    assert not trace.exists()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"train": {1, 2}}, r"value\['train'\] is a set"),
        ([bytearray(b"x")], "bytearray"),
        ([1, [complex(1, 2)]], "complex"),
        ({(1, 2): "a"}, "tuple for a key"),
        (np.ndarray, "numpy function or type"),
        (np.dtype("f4"), "numpy function or type"),
        (np.array([[1], "a"], object), "holds a list at 0"),
        (np.array([np.zeros(2), None], object), "holds a numpy array at 0"),
        (np.zeros(2, [("a", "f4"), ("b", "O")]), "type 'V1[26]'"),
        (np.zeros(2, "M8[s]"), "type 'M8'"),
        (np.zeros(2, complex), "type 'c16'"),
        (np.zeros(2).view(np.recarray), r"numpy\.rec\.recarray"),
        (Path("x"), "PurePosixPath|PosixPath|WindowsPath|pathlib"),
    ],
)
def test_what_is_not_plain_is_refused(tmp_path: Path, value: object, said: str) -> None:
    with pytest.raises(RefusedPickleError, match=said):
        load_plain(written(tmp_path, value))


def test_a_container_in_itself_and_one_too_deep_are_refused(tmp_path: Path) -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(RefusedPickleError, match="contains itself"):
        load_plain(written(tmp_path, endless))
    deep: list[object] = []
    for _ in range(DEEPEST + 1):
        deep = [deep]
    with pytest.raises(RefusedPickleError, match="too deeply"):
        load_plain(written(tmp_path, deep))


def test_a_list_shared_a_billion_times_is_read_once(tmp_path: Path) -> None:
    value: list[object] = ["x"]
    for _ in range(DEEPEST - 1):
        value = [value] * 30
    load_plain(written(tmp_path, value))


def opcodes(*parts: bytes) -> bytes:
    return b"\x80\x02" + b"".join(parts) + b"."


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


DTYPE = b"cnumpy\ndtype\n"
NEW_ARRAY = b"cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
FLOATS = DTYPE + text("f8") + b"\x85R"
OBJECTS = DTYPE + text("O8") + b"\x85R"


@pytest.mark.parametrize(
    ("program", "said"),
    [
        # Bytes passed off as pointers to objects: numpy itself would follow them.
        (
            opcodes(NEW_ARRAY, b"(K\x01K\x01\x85", OBJECTS, b"\x89C\x08AAAAAAAAtb"),
            "does not hold 1 objects",
        ),
        # The same by way of a dtype whose state brings fields.
        (
            opcodes(
                DTYPE + text("f8") + b"\x85R(K\x03", text("<"), b"N\x8c\x01f\x85}K\x08K\x08K?tb"
            ),
            "fields or subarrays",
        ),
        (opcodes(NEW_ARRAY, b"(K\x01K\x02\x85", FLOATS, b"\x89C\x08AAAAAAAAtb"), "hold 2 values"),
        (opcodes(NEW_ARRAY, b"(K\x01J\xff\xff\xff\xff\x85", FLOATS, b"\x89C\x00tb"), "the shape"),
        (opcodes(NEW_ARRAY, b"(K\x01K\x00\x85N\x89C\x00tb"), "has no type"),
        (opcodes(NEW_ARRAY), "has the shape None"),
        (opcodes(NEW_ARRAY, b"K\x01b"), "state is not numpy's"),
        # State for a function: would change what the next file meets.
        (opcodes(b"cnumpy._core.multiarray\nscalar\n(N}", text("_call"), b"Nstb"), "to a function"),
        (opcodes(b"c__builtin__\nbytes\n", b"J\xff\xff\xff\x7f\x85R"), "makes bytes"),
        (opcodes(b"cnumpy\nndarray\nK\x01\x85R"), "calls numpy.ndarray"),
        (opcodes(b"cnumpy._core.multiarray\n_reconstruct\n", FLOATS, b"\x85R"), "of kind _Dtype"),
        (opcodes(b"cnumpy._core.multiarray\nscalar\n", OBJECTS, b"C\x08AAAAAAAA\x86R"), "scalar"),
        (
            opcodes(b"c_codecs\nencode\n", text("a"), text("zip"), b"\x86R"),
            "encodes a str as 'zip'",
        ),
        (opcodes(b"cnumpy\nndarray\n)\x81"), "no whole pickle"),
        (opcodes(text("x"), b"Q"), "outside itself: 'x'"),
        (opcodes(b"\x82\x01"), "no whole pickle"),
        (opcodes(b"N}b"), "no whole pickle"),
        (opcodes(b"0"), "no whole pickle"),
        (b"\x80\x04\x95\xff\xff", "no whole pickle"),
        (b"", "no whole pickle"),
        (b"PK\x03\x04 a zip file", "no whole pickle"),
    ],
)
def test_crafted_programs_are_refused(tmp_path: Path, program: bytes, said: str) -> None:
    path = tmp_path / "crafted.pkl"
    path.write_bytes(program)
    with pytest.raises(RefusedPickleError, match=said):
        load_plain(path)
    assert len(read_mmsa(written(tmp_path, {"test": columns()}))["test"].samples) == CLIPS


def test_every_cut_of_a_file_is_refused(tmp_path: Path) -> None:
    whole = io.BytesIO(pickle.dumps({"train": {"id": ["a"], "audio": np.zeros((1, 2, 3))}}, 4))
    path = tmp_path / "cut.pkl"
    for size in range(len(whole.getvalue())):
        path.write_bytes(whole.getvalue()[:size])
        with pytest.raises(RefusedPickleError):
            load_plain(path)


def test_saving_nothing_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="empty"):
        save_features({}, "x", tmp_path / "x.npz")
    assert list(tmp_path.iterdir()) == []
