"""invoice-totals: known invoices, and the sums that must hold for every invoice."""

from __future__ import annotations

import random
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from typing import Any

import pytest

from .conftest import Run


def line(price: str | float, quantity: str | float = 1, **more: Any) -> dict[str, Any]:
    return {"description": "thing", "quantity": quantity, "unitPrice": price, **more}


def total(run: Run, invoice: dict[str, Any], **configuration: Any) -> dict[str, Any]:
    (outcome,) = run("invoice-totals", ("total", invoice, configuration))
    assert "error" not in outcome, outcome
    output: dict[str, Any] = outcome["output"]
    return output


def test_prices_that_binary_fractions_cannot_hold_add_up(run: Run) -> None:
    output = total(run, {"lines": [line("0.10"), line("0.20"), line(0.3)]}, defaultTax="zero")
    assert output["gross"] == {"minor": 60, "text": "0.60"}


@pytest.mark.parametrize(
    ("mode", "rounding"), [("half-even", ROUND_HALF_EVEN), ("half-up", ROUND_HALF_UP), ("down", ROUND_DOWN)]
)
def test_each_rounding_mode_agrees_with_the_decimal_module(run: Run, mode: str, rounding: str) -> None:
    prices = ["0.005", "0.015", "0.025", "1.994", "1.995", "2.0049999"]
    output = total(run, {"lines": [line(price) for price in prices]}, rounding=mode)
    found = [item["list"]["text"] for item in output["lines"]]
    assert found == [str(Decimal(price).quantize(Decimal("0.01"), rounding)) for price in prices]


def test_tax_is_broken_down_by_rate_with_the_highest_first(run: Run) -> None:
    lines = [line("10.00", tax="reduced"), line("20.00"), line("5.00", tax="7.5"), line("1.00", tax="reverse-charge")]
    output = total(run, {"lines": lines})
    assert [(tax["tax"], tax["taxable"]["minor"], tax["amount"]["minor"]) for tax in output["taxes"]] == [
        ("standard", 2000, 380),
        ("7.5%", 500, 38),
        ("reduced", 1000, 70),
        ("reverse-charge", 100, 0),
    ]
    assert output["taxes"][-1]["note"].startswith("Reverse charge")
    assert output["gross"]["minor"] == 3600 + 488


def test_tax_may_be_rounded_for_each_rate_or_for_each_line(run: Run) -> None:
    invoice = {"lines": [line("0.13")] * 10}
    assert total(run, invoice)["tax"]["minor"] == 25
    assert total(run, invoice, roundTaxPer="line")["tax"]["minor"] == 20


def test_tax_inside_the_price_leaves_the_gross_amount_alone(run: Run) -> None:
    output = total(run, {"pricesIncludeTax": True, "lines": [line("119.00"), line("9.99", tax="reduced")]})
    assert output["gross"]["minor"] == 12899
    assert [tax["amount"]["minor"] for tax in output["taxes"]] == [1900, 65]


def test_lines_in_other_currencies_are_exchanged_exactly(run: Run) -> None:
    lines = [line("1000", currency="JPY"), line("1.234", currency="KWD"), line("1.00")]
    output = total(run, {"exchangeRates": {"JPY": "0.006117", "KWD": "3.0021"}, "lines": lines}, defaultTax="exempt")
    assert [item["list"]["text"] for item in output["lines"]] == ["6.12", "3.70", "1.00"]


@pytest.mark.parametrize(("currency", "text"), [("JPY", "120"), ("EUR", "119.50"), ("KWD", "119.500")])
def test_amounts_have_the_minor_digits_of_their_currency(run: Run, currency: str, text: str) -> None:
    output = total(run, {"currency": currency, "lines": [line("119.5")]}, defaultTax="zero")
    assert output["net"]["text"] == text


def test_every_line_bears_its_share_of_the_whole_discount(run: Run) -> None:
    output = total(run, {"discount": {"amount": "1.00"}, "lines": [line("3.33")] * 3}, defaultTax="zero")
    assert [item["discount"]["minor"] for item in output["lines"]] == [34, 33, 33]
    assert output["discount"]["minor"] == 100


def test_the_sums_hold_for_any_invoice(run: Run) -> None:
    dice = random.Random(7)
    invoices = []
    for _ in range(200):
        lines = [
            line(
                f"{dice.randrange(10**6)}.{dice.randrange(10**4):04d}",
                f"{dice.randrange(1, 40)}.{dice.randrange(100):02d}",
                tax=dice.choice(["standard", "reduced", "zero", "exempt", "3.75"]),
                **({"discount": {"percent": dice.randrange(101)}} if dice.random() < 0.5 else {}),
            )
            for _ in range(dice.randrange(1, 9))
        ]
        invoices.append({"pricesIncludeTax": dice.random() < 0.5, "discount": {"percent": "12.5"}, "lines": lines})
    calls = [("total", invoice, {"roundTaxPer": dice.choice(["rate", "line"])}) for invoice in invoices]
    for invoice, outcome in zip(invoices, run("invoice-totals", *calls), strict=True):
        output = outcome["output"]
        charged = sum(item["charged"]["minor"] for item in output["lines"])
        assert output["net"]["minor"] + output["tax"]["minor"] == output["gross"]["minor"]
        assert sum(tax["taxable"]["minor"] for tax in output["taxes"]) == output["net"]["minor"]
        assert sum(tax["amount"]["minor"] for tax in output["taxes"]) == output["tax"]["minor"]
        assert charged == output["gross" if invoice["pricesIncludeTax"] else "net"]["minor"]
        assert all(item["charged"]["minor"] >= 0 for item in output["lines"])


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ({"amount": "100.00", "parts": 3}, [3334, 3333, 3333]),
        ({"amount": "-0.05", "parts": 2}, [-3, -2]),
        ({"amount": "1", "currency": "JPY", "parts": 3}, [1, 0, 0]),
        ({"amount": "10.00", "weights": [1, 0, 2]}, [333, 0, 667]),
    ],
)
def test_instalments_lose_no_minor_unit(run: Run, given: dict[str, Any], parts: list[int]) -> None:
    (outcome,) = run("invoice-totals", ("instalments", given))
    assert [part["minor"] for part in outcome["output"]["instalments"]] == parts


def test_a_gross_amount_is_taken_apart(run: Run) -> None:
    (outcome,) = run("invoice-totals", ("extractTax", {"amount": "10.00"}))
    assert {key: outcome["output"][key]["minor"] for key in ("net", "tax", "gross")} == {
        "net": 840,
        "tax": 160,
        "gross": 1000,
    }


@pytest.mark.parametrize(
    ("invoice", "complaint"),
    [
        ({"lines": [line("1e9")]}, 'lines[0].unitPrice: "1e9" is not a plain decimal number'),
        ({"lines": [line("1", currency="USD")]}, "lines[0].currency: no exchange rate from USD to EUR was given"),
        ({"lines": [line("1"), line("1", tax="luxury")]}, 'lines[1].tax: the tax category "luxury" is not configured'),
        ({"lines": [line("1", tax="constructor")]}, 'the tax category "constructor" is not configured'),
        ({"lines": [line("1", discount={"amount": "2"})]}, "lines[0].discount.amount: 2 is more than the price"),
        ({"lines": [line("1", discount={"percent": 101})]}, "lines[0].discount.percent: 101 is not between 0 and 100"),
        ({"lines": [line("-1")]}, "lines[0]: quantity times unitPrice is less than zero"),
        ({"lines": [line("9" * 17)]}, "does not fit into a JSON number"),
    ],
)
def test_an_impossible_invoice_is_refused_with_its_line(run: Run, invoice: dict[str, Any], complaint: str) -> None:
    (outcome,) = run("invoice-totals", ("total", invoice))
    assert complaint in outcome["error"]


def test_a_total_is_logged_without_what_was_sold(run: Run) -> None:
    (outcome,) = run("invoice-totals", ("total", {"lines": [line("1.00")]}))
    assert outcome["logs"] == [
        {"level": "info", "message": "invoice totalled", "fields": {"lines": 1, "currency": "EUR", "gross": 119}}
    ]
