"""The words that an explanation names matter more than others, with the served weights."""

from __future__ import annotations

from benchmarks.explanation_deletion import measure
from model.predictor import Predictor
from preprocessing.schema import feature_schema
from preprocessing.text import WordPiece
from tests.service.running import CHECKPOINT

SENTENCES = (
    "the first half is slow but the ending is wonderful and I would see it again",
    "he parked the car, took the stairs, and told us that the dinner was disgusting",
    "we were there on Tuesday with the children and they loved every minute of it",
    "my sister bought the blue one last week and it broke on the second day",
    "I had not heard of the director before, and this is a brilliant piece of work",
    "it is a film about a family in a small town, and it is so boring",
)
"""Written for this test; most of their words say nothing of what is thought of the thing."""


def test_named_words_change_the_score_more_than_random_ones() -> None:
    schema = feature_schema(WordPiece().sha256)
    predictor = Predictor.load(CHECKPOINT, schema=schema, device="cpu")
    found = measure(predictor, SENTENCES, k=2)
    assert found.texts == len(SENTENCES)
    assert found.named > 2 * found.random
    assert found.won > 0.8
