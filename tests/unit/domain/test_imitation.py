"""Which names would be taken for others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugyard.domain.imitation import Likeness, halves, likeness, publisher_skeleton, skeleton

NAMES = st.from_regex(r"[a-z][a-z0-9]{2,12}(-[a-z0-9]{1,6}){0,2}", fullmatch=True)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("invoice-totals", "invoicetotals"),
        ("invoice-totals", "inv0ice-tota1s"),
        ("modern-mail", "modem-mail"),
        ("view-data", "vievv-data"),
    ],
)
def test_names_that_read_the_same_are_the_same(name: str, other: str) -> None:
    assert likeness(name, other) is likeness(other, name) is Likeness.SAME


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("invoice-totals", "invoice-total"),
        ("invoice-totals", "invoice-toatls"),
        ("invoice-totals", "invoice-totels"),
        ("invoice-totals", "xinvoice-totals"),
        ("currency-rates", "curency-rates"),
        ("slack-bot", "slack-bot2"),
    ],
)
def test_one_letter_left_out_added_changed_or_swapped_is_a_slip(name: str, other: str) -> None:
    assert likeness(name, other) is likeness(other, name) is Likeness.SLIP


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("invoice-totals", "invoice-taxes"),
        ("report-v1", "report-v2"),
        ("report-2025", "report-26"),
        ("abc", "abd"),
        ("mail-sender", "mail-reader"),
        ("totals-invoice", "invoice-totals"),
    ],
)
def test_names_that_nobody_mistakes_are_not_alike(name: str, other: str) -> None:
    assert likeness(name, other) is None
    assert likeness(other, name) is None


@given(NAMES, st.integers(0, 30), st.sampled_from("abcxyz019"), st.sampled_from(["drop", "add", "change", "swap"]))
def test_every_slip_leaves_the_beginning_or_the_end(name: str, place: int, letter: str, how: str) -> None:
    at = place % len(name)
    changed = {
        "drop": name[:at] + name[at + 1 :],
        "add": name[:at] + letter + name[at:],
        "change": name[:at] + letter + name[at + 1 :],
        "swap": name[:at] + name[at : at + 2][::-1] + name[at + 2 :],
    }[how]
    if likeness(name, changed) is None or len(skeleton(name)) < 6:
        return
    beginning, end = halves(name)
    read = skeleton(changed)
    assert read.startswith(beginning) or read.endswith(end), "the store would not find it"


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Acme Inc.", "ACME"),
        ("Acme, Incorporated", "acme gmbh"),
        ("Lovelace & Co", "Lovelace"),
        ("Café Müller", "Cafe Muller"),
        ("Google", "G00gle LLC"),
        ("Apple", "\u0410\u0440\u0440le"),
        ("Paypal", "P\u0430ypa1"),
        ("\uff21cme", "Acme"),
    ],
)
def test_publishers_names_that_read_the_same(name: str, other: str) -> None:
    assert publisher_skeleton(name) == publisher_skeleton(other)


@pytest.mark.parametrize(("name", "other"), [("Acme", "Acne"), ("Inc", "Ltd"), ("Ada Lovelace", "Ada Byron")])
def test_publishers_names_that_read_otherwise(name: str, other: str) -> None:
    assert publisher_skeleton(name) != publisher_skeleton(other)


def test_a_name_of_nothing_to_read_is_like_no_other() -> None:
    assert publisher_skeleton("!!!") == ""
