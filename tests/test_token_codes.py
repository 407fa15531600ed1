"""Token vectors in two bits a dimension: what is kept of them, and what is found by them."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.token_codes import best_matches, encode, rotation, width


def tokens(count: int, dim: int, *, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@settings(max_examples=30, deadline=None)
@given(dim=st.integers(2, 400), count=st.integers(0, 5))
def test_rotation_keeps_every_product_and_a_token_takes_two_bits_a_dimension(dim, count):
    rows = tokens(count, dim)
    assert np.allclose(rotation(dim) @ rotation(dim).T, np.eye(dim), atol=1e-5)
    assert width(dim) == -(-2 * dim // 8)
    assert len(encode(rows)) == count * width(dim)


@pytest.mark.parametrize("dim", [312, 384, 768])
def test_cosines_to_coded_tokens_are_those_to_the_tokens_but_for_a_factor(dim):
    asked, passage = tokens(40, dim), tokens(90, dim, seed=1)
    passage[:40] = 0.6 * passage[:40] + 0.8 * asked
    passage /= np.linalg.norm(passage, axis=1, keepdims=True)
    [found] = best_matches(asked, [encode(passage)])
    true = (asked @ passage.T).max(axis=1)
    assert 0.9 < (found / true).mean() < 0.97
    assert (found / true).std() < 0.03


def test_tokens_that_no_rotation_has_spread_are_told_apart():
    """Vectors along the axes: as far from what a model gives as can be."""
    axes = rotation(384)  # of the unit matrix
    found = best_matches(axes, [encode(axes)])[0]
    assert found.min() > 0.8
    others = best_matches(axes[:192], [encode(axes[192:])])[0]
    assert others.max() < 0.4


@settings(max_examples=40, deadline=None)
@given(lengths=st.lists(st.integers(0, 6), max_size=6), asked=st.integers(0, 4))
def test_each_passage_is_matched_by_its_own_tokens_alone(lengths, asked):
    question = tokens(asked, 16)
    passages = [encode(tokens(length, 16, seed=place + 1)) for place, length in enumerate(lengths)]
    together = best_matches(question, passages)
    assert together.shape == (len(passages), asked)
    for codes, row in zip(passages, together, strict=True):
        [alone] = best_matches(question, [codes])
        assert np.allclose(row, alone, atol=1e-6)
        assert codes or (row == -1).all()


def test_codes_of_another_dimension_are_refused():
    with pytest.raises(ValueError, match="5 bytes are none of 384 dimensions"):
        best_matches(tokens(2, 384), [encode(tokens(1, 20))])


def test_codes_are_the_same_on_every_machine_and_with_every_version():
    """What is kept was coded by another machine, perhaps, and is read by another version."""
    angles = np.arange(3 * 384).reshape(3, 384)
    rows = np.sin(angles.astype(np.float64) ** 2).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert sha256(encode(rows @ rotation(384))).hexdigest()[:16] == "80851ad1a63ac8a5"
