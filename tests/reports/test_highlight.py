"""Shared words are those of the longest common blocks, whatever stands between them."""

from __future__ import annotations

from sidelight.reports.findings.highlight import Piece, compared


def test_equal_texts_are_one_shared_piece() -> None:
    assert compared("a b", "a b").original == (Piece("a b", True),)


def test_a_shifted_text_is_still_recognised() -> None:
    both = compared("pay 40 euros", "please pay 40 euros")
    assert both.original == (Piece("pay 40 euros", True),)
    assert both.guess == (Piece("please", False), Piece(" ", None), Piece("pay 40 euros", True))


def test_white_space_between_pieces_belongs_to_neither() -> None:
    assert compared("a  b c", "a x c").original == (
        Piece("a", True), Piece("  ", None), Piece("b", False), Piece(" ", None), Piece("c", True),
    )  # fmt: skip


def test_an_empty_guess_recovers_nothing() -> None:
    both = compared("a b", "")
    assert both.original == (Piece("a b", False),)
    assert both.guess == ()


def test_words_of_a_marked_span_are_personal_where_they_stand_in_either_text() -> None:
    both = compared("call Ada Lovelace, now", "ring Ada Lovelace now", ["Ada Lovelace", "4929"])
    assert [piece.text for piece in both.original if piece.personal] == ["Ada", "Lovelace,"]
    assert [piece.text for piece in both.guess if piece.personal] == ["Ada", "Lovelace"]


def test_a_span_within_a_longer_word_is_not_recovered() -> None:
    both = compared("Ann paid 5 euros", "Annual fee of 15 euros", ["Ann", "5"])
    assert both.recovered == 0
    assert not any(piece.personal for piece in both.guess)


def test_a_span_is_recovered_where_its_whole_text_stands_in_the_guess() -> None:
    both = compared("Ada Lovelace pays 40 euros", "Ada pays 40 euros", ["Ada Lovelace", "40 euros"])
    assert (both.personal, both.recovered) == (2, 1)
