"""The acoustic columns on sounds whose values are known beforehand."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from preprocessing import audio, schema
from preprocessing.chroma import chroma
from preprocessing.clip import SOUND_RATE, Sound
from tests.preprocessing.conftest import harmonics, noise, tone

LOG_F0 = schema.AUDIO_COLUMNS.index("log_f0")
ZCR = schema.AUDIO_COLUMNS.index("zero_crossing_rate")
RMS = schema.AUDIO_COLUMNS.index("rms_db")
CHROMA = schema.AUDIO_COLUMNS.index("chroma_cqt_0")


def column(sound: Sound, index: int) -> NDArray[np.float32]:
    # The first and last step hold frames that reach into the silence around the sound.
    return audio.analyse(sound).values[1:-1, index]


def test_there_are_the_columns_of_ch_sims_then_pitch_and_loudness() -> None:
    assert len(schema.AUDIO_COLUMNS) == 35
    assert schema.AUDIO_COLUMNS[0] == "zero_crossing_rate"
    assert schema.AUDIO_COLUMNS[1] == "mfcc_0"
    assert schema.AUDIO_COLUMNS[20] == "mfcc_19"
    assert schema.AUDIO_COLUMNS[21] == "chroma_cqt_0"
    assert schema.AUDIO_COLUMNS[33:] == ("log_f0", "rms_db")


@pytest.mark.parametrize("frequency", [97.0, 151.0, 220.0, 347.0])
def test_pitch_is_the_logarithm_of_the_frequency(frequency: float) -> None:
    np.testing.assert_allclose(
        column(harmonics(frequency, 1.0), LOG_F0), np.log(frequency), atol=0.01
    )


def test_noise_and_silence_between_words_have_no_pitch() -> None:
    assert np.isnan(column(noise(1.0), LOG_F0)).all()
    sound = np.concatenate([harmonics(150.0, 1.0).samples, noise(1.0, amplitude=1e-4).samples])
    values = audio.analyse(Sound(sound)).values[:, LOG_F0]
    assert not np.isnan(values[1:9]).any()
    assert np.isnan(values[11:19]).all()


def test_rumble_below_the_voice_has_no_pitch_and_no_weight() -> None:
    voice, rumble = harmonics(150.0, 1.0).samples, tone(15.0, 1.0, amplitude=0.5).samples
    np.testing.assert_allclose(column(Sound(voice + rumble), LOG_F0), np.log(150.0), atol=0.01)


def test_a_tone_crosses_zero_twice_a_period() -> None:
    np.testing.assert_allclose(column(tone(441.0, 1.0), ZCR), 2 * 441 / SOUND_RATE, rtol=0.03)


@pytest.mark.parametrize("seconds", [3.0, 7.3])
def test_chroma_is_librosa_s(seconds: float) -> None:
    count = round(seconds * SOUND_RATE)
    noise = np.random.default_rng(1).standard_normal(count)
    samples = (np.sin(440 * np.linspace(0, 6.28 * seconds, count)) + 0.1 * noise).astype(np.float32)
    ours = chroma(samples)
    theirs = librosa.feature.chroma_cqt(y=samples, sr=SOUND_RATE, hop_length=512, tuning=0.0)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_the_strongest_chroma_is_the_note() -> None:
    # A4 = 440 Hz is the tenth semitone from C.
    values = audio.analyse(tone(440.0, 2.0)).values[3:-3, CHROMA : CHROMA + 12]
    assert (values.argmax(axis=1) == 9).all()


def test_level_is_reported_and_taken_out_of_the_rows() -> None:
    loud = audio.analyse(tone(220.0, 1.0, amplitude=0.5))
    quiet = audio.analyse(tone(220.0, 1.0, amplitude=0.005))
    # A sine of amplitude 0.5 lies 9.03 dB under full scale; the frames at the ends are half empty.
    assert loud.level_dbfs == pytest.approx(-9.03, abs=0.3)
    assert loud.level_dbfs - quiet.level_dbfs == pytest.approx(40.0, abs=1e-3)
    np.testing.assert_allclose(loud.values, quiet.values, atol=0.05)


def test_loudness_is_relative_to_the_clips_own_speech() -> None:
    steps = [tone(220.0, 1.0, amplitude=a).samples for a in (0.2, 0.02)]
    values = audio.analyse(Sound(np.concatenate(steps))).values[:, RMS]
    assert values[2:8].mean() - values[12:18].mean() == pytest.approx(20.0, abs=0.1)
    far = np.concatenate(
        [tone(220.0, 1.0, amplitude=0.2).samples, np.zeros(SOUND_RATE, np.float32)]
    )
    assert audio.analyse(Sound(far)).values[15, RMS] == schema.LOWEST_DB


@pytest.mark.parametrize("sound", [np.zeros(SOUND_RATE), np.zeros(0), np.full(5000, 0.25)])
def test_nothing_but_silence_has_no_rows(sound: NDArray[np.float64]) -> None:
    features = audio.analyse(Sound(sound.astype(np.float32)))
    assert features.silent
    assert features.values.shape == (0, 35)
    assert features.level_dbfs == audio.QUIETEST_DBFS


def test_ten_rows_a_second() -> None:
    assert audio.analyse(noise(3.0)).values.shape == (30, 35)
    assert audio.analyse(noise(0.25)).values.shape == (3, 35)


def test_a_row_is_the_mean_of_the_frames_in_its_tenth_of_a_second() -> None:
    # Frame centres lie at 0, 23.2, 46.4, 69.7, 92.9, 116.1, ... ms: five in the first step.
    frames = np.arange(9, dtype=np.float64)[:, None] * [1.0, 10.0]
    frames[1, 1] = np.nan
    frames[5:, 1] = np.nan
    pooled = audio._pool(frames)
    np.testing.assert_allclose(pooled, [[2.0, (0 + 20 + 30 + 40) / 4], [6.5, np.nan]])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 12_000), st.floats(0.001, 1.0), st.integers(0, 9))
def test_any_sound_gives_finite_rows_but_for_pitch(
    length: int, amplitude: float, seed: int
) -> None:
    samples = np.random.default_rng(seed).uniform(-amplitude, amplitude, length)
    features = audio.analyse(Sound(samples.astype(np.float32)))
    assert features.silent or len(features.values) >= length * 10 // SOUND_RATE
    assert features.values.dtype == np.float32
    assert np.isfinite(np.delete(features.values, LOG_F0, axis=1)).all()
    assert not np.isinf(features.values).any()


def test_padding_for_the_chroma_does_not_reach_the_other_columns() -> None:
    long = noise(4.0)
    short = Sound(long.samples[: 2 * SOUND_RATE])
    # Levels differ a little between the two; the zero-crossings do not know about levels.
    np.testing.assert_allclose(
        audio.analyse(short).values[:18, ZCR], audio.analyse(long).values[:18, ZCR], atol=1e-6
    )


def test_the_rule_names_every_number() -> None:
    for number in (
        *(schema.HOP, schema.WINDOW, schema.ACTIVE_DB, schema.SPEECH_DBFS, schema.SILENCE_DBFS),
        *(schema.LOWEST_DB, *schema.F0_RANGE, schema.VOICED_CORRELATION, schema.VOICED_DB),
        *(schema.HIGH_PASS, schema.STEPS_PER_SECOND),
    ):
        assert f"{number:g}" in schema.AUDIO_RULE


def test_warm_up_runs() -> None:
    audio.warm_up()
