"""Search, neighbours, facets and the description of the collection, over a real index and a real socket."""

from __future__ import annotations

import json
import threading
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from embedworks.foundation import InputError
from embedworks.serving import ServerSettings, create_app, read_report
from embedworks.serving.collection import attribute_kind, example_queries, first_sentence
from embedworks.serving.plain_values import plain_value


def test_a_search_answers_what_the_index_answers(start: Any, index: Any, encoder: Any) -> None:
    server = start()
    query = "red car"
    for mode in ("vector", "lexical", "hybrid"):
        direct = index.search(
            None if mode == "lexical" else encoder.encode([query])[0],
            text=None if mode == "vector" else query, k=3, where="year >= 2022", mode=mode,
        )  # fmt: skip
        request = {"query": query, "k": 3, "where": "year >= 2022", "mode": mode}
        for answer in (server.client.post("/search", json=request), server.client.get("/search", params=request)):
            document = answer.json()
            assert [hit["id"] for hit in document["hits"]] == [hit.id for hit in direct.hits]
            np.testing.assert_allclose(
                [hit["score"] for hit in document["hits"]], [hit.score for hit in direct.hits], atol=1e-6
            )
            assert document["passing"] == direct.passing == 4
            assert document["how"] == direct.how
            assert document["milliseconds"] >= document["search_milliseconds"] >= 0


def test_highlights_count_code_points(start: Any) -> None:
    hit = start().client.get("/search", params={"query": "apple eye", "k": 1, "mode": "lexical"}).json()["hits"][0]
    assert hit["id"] == "emoji"
    cut = hit["snippet"]
    assert [cut["text"][begin:end] for begin, end in cut["highlights"]] == ["apple", "eye"]
    assert (cut["cut_before"], cut["cut_after"], hit["text_complete"]) == (False, False, True)


def test_attributes_arrive_as_json_values(start: Any) -> None:
    hits = start().client.get("/search", params={"query": "apple", "k": 6}).json()["hits"]
    by_id = {hit["id"]: hit["attributes"] for hit in hits}
    assert by_id["red.apple"] == {"kind": "fruit", "year": 2021, "ripe": True, "tags": ["sweet", "red"]}
    assert by_id["emoji"]["year"] is None
    assert by_id['o\'brien/"quoted"']["kind"] == "it's <i>"


@pytest.mark.parametrize(
    ("request_body", "status", "parameter", "said"),
    [
        ({"query": ""}, 422, "query", "empty"),
        ({"query": "  \n"}, 422, "query", "empty"),
        ({"query": "x" * 2001}, 422, "query", "shorten"),
        ({"query": "\ud800"}, 422, "query", "surrogate"),
        ({"query": "a", "k": 0}, 422, "k", ""),
        ({"query": "a", "k": 101}, 422, "k", "1 to 100"),
        ({"query": "a", "k": "5"}, 422, "k", ""),
        ({"query": "a", "mode": "magic"}, 422, "mode", ""),
        ({"query": "a", "wheree": "year > 5"}, 422, "wheree", ""),
        ({"query": ["a"]}, 422, "query", ""),
        ({"query": "a", "where": "yeer > 5"}, 400, "where", "did you mean 'year'"),
        ({"query": "a", "where": "year >"}, 400, "where", "allowed:"),
        ({"query": "a", "where": "__import__('os')"}, 400, "where", ""),
        ({"query": "a", "where": "(" * 5000}, 400, "where", ""),
        ({"query": "a", "where": "kind = '\ud800'"}, 422, "where", "surrogate"),
        ({"query": "a", "where": "year > '5'"}, 400, "where", ""),
    ],
)
def test_wrong_searches_say_what_to_mend(
    start: Any, request_body: dict[str, Any], status: int, parameter: str, said: str
) -> None:
    server = start()
    content = json.dumps(request_body).encode()
    answer = server.client.post("/search", content=content, headers={"content-type": "application/json"})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (status, parameter), error
    assert said in error["message"]
    assert server.client.get("/search", params={"query": "apple"}).status_code == 200


def test_more_like_an_entry(start: Any, index: Any) -> None:
    server = start()
    document = server.client.get("/similar", params={"id": "red.apple", "k": 2, "where": "ripe = true"}).json()
    direct = index.more_like("red.apple", k=2, where="ripe = true")
    assert [hit["id"] for hit in document["hits"]] == [hit.id for hit in direct.hits]
    assert "red.apple" not in {hit["id"] for hit in document["hits"]}
    quoted = server.client.get("/similar", params={"id": 'o\'brien/"quoted"'})
    assert quoted.status_code == 200
    missing = server.client.get("/similar", params={"id": "nobody"})
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "no_such_entry")
    assert str(index.path) not in missing.text
    wrong = server.client.get("/similar", params={"id": "red.apple", "where": "no such"})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "where")


def test_facets_count_what_passes_the_filter(start: Any) -> None:
    client = start().client
    document = client.get("/facets").json()
    facets = {facet["name"]: facet for facet in document["facets"]}
    assert document["entries"] == 6
    assert facets["kind"]["values"] == [
        {"value": "fruit", "count": 3}, {"value": "thing", "count": 2}, {"value": "it's <i>", "count": 1},
    ]  # fmt: skip
    assert (facets["year"]["smallest"], facets["year"]["largest"]) == (2021, 2025)
    assert {"value": True, "count": 3} in facets["ripe"]["values"]
    assert {"value": "🍎", "count": 1} in facets["tags"]["values"]
    filtered = client.get("/facets", params={"where": "year >= 2023", "name": ["kind", "year"]}).json()
    assert filtered["entries"] == 3
    assert [facet["name"] for facet in filtered["facets"]] == ["kind", "year"]
    assert filtered["facets"][1]["smallest"] == 2023
    assert (
        client.get("/facets", params={"where": "year > 9999", "name": "year"}).json()["facets"][0]["smallest"] is None
    )
    assert client.get("/facets", params={"name": "nothing"}).status_code == 400


def test_the_collection_describes_itself(start: Any, report_folder: Any) -> None:
    server = start(title="Small things", comparison=read_report(report_folder))
    about = server.client.get("/about").json()
    assert (about["title"], about["entries"], about["model"], about["dimension"]) == ("Small things", 6, "words", 32)
    assert about["attributes"] == [
        {"name": "kind", "kind": "string"}, {"name": "year", "kind": "number"},
        {"name": "ripe", "kind": "boolean"}, {"name": "tags", "kind": "set"},
    ]  # fmt: skip
    assert set(about["examples"]) <= {
        "A red apple lies on the table", "A green apple lies on the shelf",
        "The red car is parked outside", "The blue car is driven to work",
    }  # fmt: skip
    assert len(about["examples"]) > 1
    assert about["comparison"]["rows"] == [["words", 67.5], ["both", 73.84]]
    picture = server.client.get(f"/{about['comparison']['pictures']['dark']}")
    assert picture.headers["content-type"] == "image/svg+xml"
    assert "sandbox" in picture.headers["content-security-policy"]
    for name in ("comparison.json", "../report.py", "%2e%2e/settings.py", "comparison-light.png"):
        assert server.client.get(f"/comparison/{name}").status_code == 404


def test_the_same_query_is_encoded_once(start: Any, encoder: Any) -> None:
    client = start().client
    for where in (None, "year > 2022"):
        client.post("/search", json={"query": "apple pie", "where": where})
    assert sum("apple pie" in call for call in encoder.calls) == 1


def test_the_status_of_process_and_model(start: Any, encoder: Any) -> None:
    client = start(ready_timeout_s=0.2).client
    assert client.get("/health").json() == {"status": "ok", "entries": 6}
    assert client.get("/ready").status_code == 200
    encoder.gate.clear()
    assert client.get("/ready").status_code == 503
    assert client.get("/health").status_code == 200
    encoder.gate.set()
    for _ in range(100):
        if client.get("/ready").status_code == 200:
            break
        threading.Event().wait(0.05)
    assert client.get("/ready").status_code == 200
    assert 'embedworks_answers_total{status="503"} 1' in client.get("/metrics").text


def test_unknown_addresses_and_methods_answer_in_the_usual_shape(start: Any) -> None:
    client = start().client
    for answer, status in (
        (client.get("/nowhere"), 404), (client.delete("/search"), 405), (client.get("/static/../settings.py"), 404),
        (client.get("/static/nothing.js"), 404), (client.get("/docs"), 404),
    ):  # fmt: skip
        assert answer.status_code == status
        assert answer.json()["error"]["message"]
    assert "/v1/embeddings" in client.get("/openapi.json").json()["paths"]


def test_index_and_encoder_must_match(index: Any) -> None:
    class Other:
        dimension = 5

        def encode(self, items: Any) -> Any:
            raise AssertionError

    with pytest.raises(InputError, match="5 components"):
        create_app(index, Other(), settings=ServerSettings())


def test_attribute_kinds_and_values() -> None:
    from datetime import UTC, date, datetime

    kinds = {
        pa.string(): "string", pa.bool_(): "boolean", pa.int64(): "number", pa.float64(): "number", pa.date32(): "date",
        pa.timestamp("us"): "date", pa.list_(pa.string()): "set", pa.binary(): "other", pa.null(): "other",
    }  # fmt: skip
    assert {kind: attribute_kind(kind) for kind in kinds} == kinds
    values = [
        float("nan"),
        float("inf"),
        1.5,
        date(2026, 1, 2),
        datetime(2026, 1, 2, tzinfo=UTC),
        b"\x00",
        ("a", 1),
        None,
    ]
    assert [plain_value(value) for value in values] == [
        None, None, 1.5, "2026-01-02", "2026-01-02T00:00:00+00:00", "AA==", ["a", 1], None,
    ]  # fmt: skip
    assert [first_sentence(text) for text in ("", "A b c.", "A whole first line\nmore", "With <b> markup in it")] == [
        None, None, "A whole first line", None,
    ]  # fmt: skip


def test_an_empty_index_is_served(start: Any, tmp_path: Any) -> None:
    from embedworks.index import Index

    empty = Index.create(tmp_path / "empty.index", dimension=32)
    client = start(index=empty).client
    assert example_queries(empty) == ()
    assert client.get("/about").json()["entries"] == 0
    assert client.get("/search", params={"query": "anything"}).json()["hits"] == []
    assert client.get("/facets").json() == {"entries": 0, "facets": []}
