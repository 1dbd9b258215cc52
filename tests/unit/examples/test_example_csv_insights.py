"""csv-insights against pandas, on the table of 3,376 airports and on small tables that are awkward on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas
import pytest
import vega_datasets

from .conftest import Run

AIRPORTS = Path(vega_datasets.__file__).parent / "_data" / "airports.csv"


@pytest.fixture(scope="module")
def airports(run: Run) -> dict[str, Any]:
    (outcome,) = run("csv-insights", ("describe", {"csv": AIRPORTS.read_text("utf-8"), "groupBy": "state"}))
    output: dict[str, Any] = outcome["output"]
    return output


@pytest.fixture(scope="module")
def frame() -> pandas.DataFrame:
    return pandas.read_csv(AIRPORTS)


def column(output: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(item for item in output["columns"] if item["name"] == name)
    return found


def test_all_airports_are_counted(airports: dict[str, Any], frame: pandas.DataFrame) -> None:
    assert airports["rows"] == len(frame) == 3376
    assert [item["name"] for item in airports["columns"]] == list(frame.columns)


@pytest.mark.parametrize("name", ["latitude", "longitude"])
def test_the_statistics_are_those_of_pandas(airports: dict[str, Any], frame: pandas.DataFrame, name: str) -> None:
    numbers = frame[name]
    expected = {
        "min": numbers.min(),
        "max": numbers.max(),
        "mean": numbers.mean(),
        "median": numbers.median(),
        "stddev": numbers.std(),
        "q1": numbers.quantile(0.25),
        "q3": numbers.quantile(0.75),
    }
    found = column(airports, name)["statistics"]
    assert found.pop("exact") is True
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["latitude", "longitude"])
def test_the_outliers_are_those_beyond_tukeys_fences(
    airports: dict[str, Any], frame: pandas.DataFrame, name: str
) -> None:
    numbers = frame[name]
    q1, q3 = numbers.quantile(0.25), numbers.quantile(0.75)
    outside = numbers[(numbers < q1 - 1.5 * (q3 - q1)) | (numbers > q3 + 1.5 * (q3 - q1))]
    found = column(airports, name)["outliers"]
    assert found["count"] == len(outside)
    # Rows are counted from 1 in the answer and from 0 in pandas.
    assert {item["row"] - 1 for item in found["examples"]} <= set(outside.index)


@pytest.mark.parametrize("name", ["iata", "name", "city", "state", "country", "latitude", "longitude"])
def test_gaps_and_distinct_values_are_those_of_pandas(
    airports: dict[str, Any], frame: pandas.DataFrame, name: str
) -> None:
    found = column(airports, name)
    assert found["nulls"] == int(frame[name].isna().sum())
    assert found["distinct"] == frame[name].nunique()


def test_the_groups_are_those_of_pandas(airports: dict[str, Any], frame: pandas.DataFrame) -> None:
    grouped = frame.groupby("state", dropna=False)["latitude"].agg(["size", "mean"])
    groups = airports["groups"]
    assert groups["count"] == len(grouped)
    assert sum(item["rows"] for item in groups["items"]) + groups["others"]["rows"] == len(frame)
    for item in groups["items"]:
        expected = grouped.loc[item["key"]["state"]]
        assert item["rows"] == expected["size"]
        assert item["numbers"]["latitude"]["mean"] == pytest.approx(expected["mean"], rel=1e-12)


def test_codes_that_look_like_numbers_stay_text(airports: dict[str, Any]) -> None:
    assert column(airports, "iata")["type"] == "text"
    assert column(airports, "iata")["unique"] is True


def test_types_are_inferred_from_all_cells(run: Run) -> None:
    csv = (
        "zip;count;price;opened;seen;open;nothing;mixed\n"
        "01010;1;1.5;2024-02-29;2024-01-01T10:00:00;yes;;7\n"
        "99999;-2;2;2023-01-01;2024-01-02 11:00:00+02:00;FALSE;NA;seven\n"
    )
    (outcome,) = run("csv-insights", ("describe", {"csv": csv}))
    assert outcome["output"]["delimiter"] == ";"
    assert {item["name"]: item["type"] for item in outcome["output"]["columns"]} == {
        "zip": "text",
        "count": "integer",
        "price": "number",
        "opened": "date",
        "seen": "datetime",
        "open": "boolean",
        "nothing": "empty",
        "mixed": "text",
    }
    assert "1 integer, 1 text" in column(outcome["output"], "mixed")["notice"]


def test_rows_may_be_json_objects_with_gaps(run: Run) -> None:
    rows = [{"a": 1, "b": True}, {"a": 2.5}, {"a": None, "b": False, "c": "x"}]
    describe, infer = run("csv-insights", ("describe", {"rows": rows}), ("infer", {"rows": rows}))
    assert column(describe["output"], "a")["statistics"]["mean"] == 1.75
    assert [item["nulls"] for item in describe["output"]["columns"]] == [1, 1, 2]
    assert infer["output"] == {
        "type": "object",
        "required": [],
        "properties": {
            "a": {"type": ["number", "null"]},
            "b": {"type": ["boolean", "null"]},
            "c": {"type": ["string", "null"]},
        },
    }


def test_quantiles_come_from_a_fair_sample_when_there_are_too_many_values(run: Run) -> None:
    csv = "n\n" + "\n".join(str(number) for number in range(20_000))
    (outcome,) = run("csv-insights", ("describe", {"csv": csv}, {"sampleSize": 2000}))
    statistics = column(outcome["output"], "n")["statistics"]
    assert statistics["exact"] is False
    assert statistics["mean"] == pytest.approx(9999.5)
    assert statistics["median"] == pytest.approx(9999.5, rel=0.1)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"csv": " \n"}, "the table is empty"),
        ({"csv": "a,b\n1,2\n3\n"}, "line 3: 1 cells, but there are 2 columns"),
        ({"csv": "a,a\n1,2\n"}, "the columns a are there more than once"),
        ({"csv": "a,\n1,2\n"}, "every column needs a name"),
        ({"csv": 'a,b\n"1,2\n'}, "line 2: unexpected end of data"),
        ({"csv": "a\n1\n", "groupBy": "b"}, "groupBy: there is no column b; there are a"),
    ],
)
def test_a_bad_table_is_refused_with_its_place(run: Run, given: dict[str, Any], complaint: str) -> None:
    (outcome,) = run("csv-insights", ("describe", given))
    assert complaint in outcome["error"]


@pytest.mark.parametrize("cell", ["9" * 400, "1e999", "-" + "9" * 5000, "2024-13-45", "+", "٣"])
def test_cells_that_are_almost_values_are_text(run: Run, cell: str) -> None:
    (outcome,) = run("csv-insights", ("describe", {"csv": f"a\n{cell}\n"}))
    assert column(outcome["output"], "a")["type"] == "text"
