"""Training runs: eq. 36, from end to end, stopped and gone on with, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from model.checkpoint import file_sha256, load_checkpoint, read_header
from model.corpus import load_corpus
from model.encoder import load_encoder
from model.training.evaluate import answer
from model.training.loop import Progress, Run
from model.training.recipe import CorpusUse, RecipeError
from model.training.train import main, train
from tests.model.conftest import SCHEMA, Labelled, make_sample, write_corpus
from tests.model.runs import CHANGES, CONFIG, tiny_recipe

CPU = torch.device("cpu")


def _voices(folder: Path, train_items: int = 96, valid_items: int = 24) -> Path:
    """A corpus whose label is decided by sound column 1 alone."""
    random = np.random.default_rng(5)
    items = []
    for index in range(train_items + valid_items):
        sample = make_sample(index, tokens=3, sounds=5, frames=2)
        mood = random.uniform(-1, 1)
        sample.audio[:, 1] = 40 + 7 * mood
        split = "train" if index < train_items else "valid"
        items.append(Labelled(sample, 3 * mood, f"voice-{index}", split))
    return write_corpus(folder / "voices.npz", items)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Path:
    """Folder of a run that learned the corpus ``voices``, started from the command line."""
    folder = tmp_path_factory.mktemp("run")
    _voices(folder)
    changes = "\n".join(
        f"{name} = {json.dumps(value)}" for name, value in CHANGES.items() if value is not None
    )
    # TOML has no null: the profile's rank is left to the profile and made as small as can be.
    (folder / "recipe.toml").write_text(
        f"""
name = "tiny"
version = "0.0.7"
epochs = 8
batch_size = 16
fusion_rate = 1e-2
encoder_rate = 1e-4
validations = 4

[changes]
encoder_rank = 1
{changes}

[augmentation]
modality_dropout = 0.1

[[corpora]]
name = "voices"
select = 1.0
modalities = ["text", "audio"]
"""
    )
    main(
        [
            *(str(folder / "recipe.toml"), "--features", str(folder)),
            *("--out", str(folder / "out"), "--device", "cpu", "--encoder", str(tiny_encoder)),
        ]
    )
    return folder


def test_a_run_learns_what_decides_the_label(run: Path, tiny_encoder: Path) -> None:
    record = json.loads((run / "out" / "record.json").read_text())
    values = [entry["selection"] for entry in record["history"]]
    # Guessing the mean of labels that are even over -3..3 is wrong by 1.5 on average.
    assert values[-1] < values[0]
    assert min(values) < 0.6
    model, _ = load_checkpoint(
        run / "out" / "tiny.safetensors", schema=SCHEMA, encoder_folder=tiny_encoder
    )
    moods = np.linspace(-1, 1, 21)
    samples = [make_sample(1000 + i, 3, 5, 2) for i in range(len(moods))]
    for sample, mood in zip(samples, moods, strict=True):
        sample.audio[:, 1] = 40 + 7 * mood
    scores = answer(model, samples, device=CPU).scores
    assert np.corrcoef(scores, moods)[0, 1] > 0.95


def test_a_run_keeps_the_best_checkpoint_and_a_record_of_itself(run: Path) -> None:
    record = json.loads((run / "out" / "record.json").read_text())
    header = read_header(run / "out" / "tiny.safetensors")
    assert (header.name, header.version) == ("tiny", "0.0.7")
    assert header.config == replace(CONFIG, encoder_rank=1)
    assert header.schema == SCHEMA
    assert record["recipe"]["epochs"] == 8
    assert record["data_sha256"] == {"voices": file_sha256(run / "voices.npz")}
    assert record["torch"] == torch.__version__
    assert [entry["step"] for entry in record["history"]] == [12, 24, 36, 48]
    assert record["best_selection"] == min(entry["selection"] for entry in record["history"])
    report = record["history"][0]["voices:text+audio"]
    assert report["n"] == 24
    assert report["mae"] == pytest.approx(record["history"][0]["selection"])


@pytest.mark.parametrize(("loss", "expected"), [("mse", 1.0), ("l1", 2.0)])
def test_eq_36_draws_answers_to_the_mean_of_labels_and_l1_to_their_median(
    tmp_path: Path, tiny_encoder: Path, loss: Literal["mse", "l1"], expected: float
) -> None:
    same = make_sample(1, 3, 5, 2)
    items = [Labelled(same, score) for score in (2.0, 2.0, -1.0)]
    items += [Labelled(same, score, split="valid") for score in (0.0, 1.0)]
    write_corpus(tmp_path / "voices.npz", items)
    recipe = tiny_recipe(
        loss=loss,
        epochs=50,
        batch_size=3,
        validations=1,
        weight_decay=0.0,
        fusion_rate=2e-2,
        changes=CHANGES | {"local_path": False, "query_depth": 1, "global_cross_depth": 1},
    )
    path = train(recipe, tmp_path, tmp_path, device=CPU, encoder_folder=tiny_encoder)
    model, _ = load_checkpoint(path, schema=SCHEMA)
    (score,) = answer(model, [same], device=CPU).scores
    assert score == pytest.approx(expected, abs=0.1)


def test_the_record_is_of_what_was_trained_on_whatever_has_become_of_it(
    tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _voices(tmp_path, 32, 8)
    features = tmp_path / "voices.npz"
    expected = file_sha256(features)
    fit = Run.fit

    def fit_and_lose(run: Run, *args: Any, **options: Any) -> Progress:
        features.unlink()
        return fit(run, *args, **options)

    monkeypatch.setattr(Run, "fit", fit_and_lose)
    recipe = tiny_recipe(epochs=1, validations=1)
    train(recipe, tmp_path, tmp_path / "out", device=CPU, encoder_folder=tiny_encoder)
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["data_sha256"] == {"voices": expected}


def test_frozen_encoders_stay_as_published(tmp_path: Path, tiny_encoder: Path) -> None:
    _voices(tmp_path, 32, 8)
    recipe = tiny_recipe(freeze_encoders=True, validations=1)
    path = train(recipe, tmp_path, tmp_path, device=CPU, encoder_folder=tiny_encoder)
    model, _ = load_checkpoint(path, schema=SCHEMA)
    published = load_encoder("tiny-bert-test", pooler=False, folder=tiny_encoder)
    for name, tensor in published.named_parameters():
        for encoder in ("global_encoder", "local_encoder"):
            found = model.get_parameter(f"{encoder}.{name}")
            assert torch.equal(found, tensor.half().float()), name


def test_batch_norm_rests_where_batches_are_of_a_kind(tmp_path: Path, tiny_encoder: Path) -> None:
    _voices(tmp_path, 32, 8)
    moved = []
    for together in (False, True):
        recipe = tiny_recipe(validations=1, batches_of_a_kind=together)
        out = tmp_path / str(together)
        weights = load_file(train(recipe, tmp_path, out, device=CPU, encoder_folder=tiny_encoder))
        moved.append(bool(weights["global_path.convolution.norm.running_mean"].any()))
    assert moved == [True, False]


def test_a_run_goes_on_from_a_checkpoint(tmp_path: Path, run: Path, tiny_encoder: Path) -> None:
    start = run / "out" / "tiny.safetensors"
    recipe = tiny_recipe(
        changes=CHANGES | {"encoder_rank": 1},
        start_from=str(start),
        fusion_rate=0.0,
        encoder_rate=0.0,
        validations=1,
    )
    path = train(recipe, run, tmp_path, device=CPU, encoder_folder=tiny_encoder)
    before, _ = load_checkpoint(start, schema=SCHEMA, encoder_folder=tiny_encoder)
    after, _ = load_checkpoint(path, schema=SCHEMA, encoder_folder=tiny_encoder)
    for name, tensor in before.named_parameters():
        torch.testing.assert_close(after.get_parameter(name), tensor)


class Stopped(Exception):
    """Somebody pulled the plug."""


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(
    tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _voices(tmp_path, 48, 8)
    changes = CHANGES | {"dropout": 0.1}
    recipe = tiny_recipe(
        average=0.5, validations=4, epochs=2, changes=changes, augmentation={"voice_jitter": 0.1}
    )
    whole = train(recipe, tmp_path, tmp_path / "a", device=CPU, encoder_folder=tiny_encoder)

    def stop_after(validations: int) -> None:
        left = [validations]

        def stop(*_: object) -> None:
            left[0] -= 1
            if not left[0]:
                raise Stopped

        monkeypatch.setattr("model.training.loop.tqdm.write", lambda *_, **__: stop())

    stop_after(3)
    with pytest.raises(Stopped):
        train(recipe, tmp_path, tmp_path / "b", device=CPU, encoder_folder=tiny_encoder)
    monkeypatch.undo()
    assert (tmp_path / "b" / "state.pt").is_file()
    again = train(recipe, tmp_path, tmp_path / "b", device=CPU, encoder_folder=tiny_encoder)
    assert not (tmp_path / "b" / "state.pt").exists()
    histories = [
        json.loads((tmp_path / name / "record.json").read_text())["history"] for name in "ab"
    ]
    assert histories[0] == histories[1]
    first, second = load_file(whole), load_file(again)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert (tmp_path / "b" / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_batch_in_parts_teaches_what_it_teaches_as_a_whole(
    tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _voices(tmp_path, 48, 8)
    # Batch norm alone looks at the clips beside: here it rests.
    recipe = tiny_recipe(batches_of_a_kind=True, epochs=3)
    losses = []
    for pairs in (2**20, 100):
        # Three tokens a clip: all 16 at once, or eleven and five.
        monkeypatch.setattr("model.training.batches.MOST_PAIRS", pairs)
        out = tmp_path / str(pairs)
        train(recipe, tmp_path, out, device=CPU, encoder_folder=tiny_encoder)
        history = json.loads((out / "record.json").read_text())["history"]
        losses.append([entry["loss"] for entry in history])
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.01)


def test_a_state_of_another_recipe_is_not_gone_on_from(tmp_path: Path, tiny_encoder: Path) -> None:
    _voices(tmp_path, 32, 8)
    torch.save({"recipe": "another"}, tmp_path / "state.pt")
    with pytest.raises(RecipeError, match="another recipe"):
        train(tiny_recipe(), tmp_path, tmp_path, device=CPU, encoder_folder=tiny_encoder)


def test_patience_ends_a_run_that_no_longer_gets_better(tmp_path: Path, tiny_encoder: Path) -> None:
    _voices(tmp_path, 32, 8)
    recipe = tiny_recipe(fusion_rate=0.0, encoder_rate=0.0, epochs=5, validations=10, patience=2)
    train(recipe, tmp_path, tmp_path, device=CPU, encoder_folder=tiny_encoder)
    history = json.loads((tmp_path / "record.json").read_text())["history"]
    # Nothing is learned: the first validation is the best, two more are waited for.
    assert len(history) == 3
    assert not (tmp_path / "state.pt").exists()


def test_voice_and_face_columns_may_change_after_words_alone(
    tmp_path: Path, run: Path, tiny_encoder: Path
) -> None:
    other = replace(SCHEMA, audio_columns=SCHEMA.audio_columns[:4])
    samples = [make_sample(i, 3, 5, 2) for i in range(8)]
    items = [
        Labelled(replace(s, audio=s.audio[:, :4]), 1.0, f"c{i}", "train" if i < 4 else "valid")
        for i, s in enumerate(samples)
    ]
    write_corpus(tmp_path / "voices.npz", items, other)
    start = run / "out" / "tiny.safetensors"
    recipe = tiny_recipe(
        changes=CHANGES | {"encoder_rank": 1, "audio_columns": 4, "audio_changes": True},
        start_from=str(start),
        fusion_rate=0.0,
        encoder_rate=0.0,
        validations=1,
    )
    path = train(recipe, tmp_path, tmp_path, device=CPU, encoder_folder=tiny_encoder)
    before, _ = load_checkpoint(start, schema=SCHEMA, encoder_folder=tiny_encoder)
    after, header = load_checkpoint(path, schema=other, encoder_folder=tiny_encoder)
    assert header.config.audio_inputs == 12
    for name, tensor in before.named_parameters():
        if "project_" not in name and "spatial" not in name:
            torch.testing.assert_close(after.get_parameter(name), tensor)


def test_samples_nobody_rated_need_a_teacher(tmp_path: Path, tiny_encoder: Path) -> None:
    sample = make_sample(1, 3, 5, 2)
    items = [Labelled(sample, float("nan"), "a"), Labelled(sample, 1.0, "b", "valid")]
    corpus = load_corpus(write_corpus(tmp_path / "voices.npz", items))
    with pytest.raises(RecipeError, match="taught = true"):
        train(tiny_recipe(), tmp_path, tmp_path, device=CPU, encoder_folder=tiny_encoder)
    np.savez(tmp_path / "voices.taught.npz", id=corpus.ids, score=np.array([2, 0], np.float32))
    recipe = tiny_recipe(corpora=(CorpusUse("voices", select=1.0, taught=True),), validations=1)
    assert train(recipe, tmp_path, tmp_path, device=CPU, encoder_folder=tiny_encoder).is_file()


@pytest.mark.parametrize(
    ("items", "said"),
    [((0, 8), "split train .* repeat = 0"), ((8, 0), "split valid .* select = 0")],
)
def test_a_split_without_items_is_named(
    tmp_path: Path, tiny_encoder: Path, items: tuple[int, int], said: str
) -> None:
    _voices(tmp_path, *items)
    with pytest.raises(RecipeError, match=f"voices has no item of the {said}"):
        train(
            tiny_recipe(validations=1),
            tmp_path,
            tmp_path,
            device=CPU,
            encoder_folder=tiny_encoder,
        )


def test_feature_files_of_several_schemas_are_not_mixed(tmp_path: Path, tiny_encoder: Path) -> None:
    _voices(tmp_path, 8, 2)
    items = [Labelled(make_sample(1, 3, 5, 2), 1.0)]
    write_corpus(tmp_path / "others.npz", items, replace(SCHEMA, audio_rule="another"))
    recipe = tiny_recipe(corpora=(CorpusUse("voices", select=1.0), CorpusUse("others")))
    with pytest.raises(RecipeError, match="several schemas"):
        train(recipe, tmp_path, tmp_path, device=CPU, encoder_folder=tiny_encoder)


def test_an_average_of_weights_is_saved_in_the_same_form(
    tmp_path: Path, tiny_encoder: Path
) -> None:
    _voices(tmp_path, 48, 8)
    recipe = tiny_recipe(average=0.5, validations=1)
    path = train(recipe, tmp_path, tmp_path, device=CPU, encoder_folder=tiny_encoder)
    model, header = load_checkpoint(path, schema=SCHEMA)
    assert header.config == CONFIG
    assert float(model.standardise_audio.mean[1]) == pytest.approx(40, abs=2)


def test_a_missing_feature_file_is_named(tmp_path: Path, tiny_encoder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"voices\.npz is missing"):
        train(tiny_recipe(), tmp_path, tmp_path, device=CPU, encoder_folder=tiny_encoder)


def test_what_a_run_lacks_is_said_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text('name = "mine"\n[[corpora]]\nname = "mine"\nselect = 1')
    command = [str(recipe), "--features", str(tmp_path), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as left:
        main(command)
    assert left.value.code == 2
    assert "mine.npz is missing. Make it with: python -m preprocessing.prepare" in (
        capsys.readouterr().err
    )
