"""The papers view over a real index and a real socket: by day, by depth, saved searches and what is new to them."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from embedworks.foundation import InputError
from embedworks.index import Index
from embedworks.serving import PapersSettings, create_app
from embedworks.serving.papers import service as papers_service
from embedworks.serving.papers.attributes import find_attributes, names_of, web_link
from embedworks.serving.papers.shown import NEAREST, _portions


def ids(document: dict[str, Any]) -> list[str]:
    return [hit["id"] for hit in document["hits"]]


@pytest.fixture(autouse=True)
def look_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the index before every answer: what is added in a test shows at once."""
    monkeypatch.setattr(papers_service, "_LOOK_AGAIN_S", 0.0)


@pytest.fixture
def client(start: Any, papers: Index) -> Any:
    return start(index=papers, title="Daily").client


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = datetime(2026, 7, 2, 8, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clocked(start: Any, papers: Index) -> tuple[Any, Clock]:
    server, clock = start(index=papers), Clock()
    server.app.state.papers._clock = clock
    return server.client, clock


# ---- which attributes -----------------------------------------------------------------------------------------------


def test_the_first_date_is_taken_unless_another_is_named() -> None:
    schema = pa.schema([("seen", pa.timestamp("us")), ("day", pa.date32()), ("Title", pa.string()), ("n", pa.int64())])
    found = find_attributes(schema)
    assert found is not None
    assert (found.date, found.title, found.authors) == ("day", "Title", None)
    named = find_attributes(schema, date="seen")
    assert named is not None
    assert named.date == "seen"
    for wrong in ("n", "nothing"):
        with pytest.raises(InputError, match="choose: day, seen"):
            find_attributes(schema, date=wrong)
    assert find_attributes(pa.schema([("n", pa.int64())])) is None


def test_what_may_be_linked_to() -> None:
    assert web_link("https://example.org/a?b=1") == "https://example.org/a?b=1"
    for wrong in ("javascript:alert(1)", "https://example.org/ x", "//example.org", "data:text/html,x", "", None, 3):
        assert web_link(wrong) is None
    assert (names_of(None), names_of(""), names_of("one"), names_of(["a", "b"])) == ([], [], ["one"], ["a", "b"])


def test_an_index_without_dates_has_no_papers_view(start: Any, index: Index) -> None:
    client = start().client
    assert client.get("/about").json()["papers"] is None
    for path in ("/papers", "/papers/days", "/papers/depth", "/saved", f"/feeds/{'0' * 32}.atom"):
        assert client.get(path).status_code == 404


def test_a_wrong_date_attribute_is_refused_before_serving(papers: Index, encoder: Any) -> None:
    with pytest.raises(InputError, match="no attribute named 'title' holds dates"):
        create_app(papers, encoder, papers=PapersSettings(date="title"))


def test_the_view_describes_itself(client: Any) -> None:
    assert client.get("/about").json()["papers"] == {
        "date": "date", "title": "title", "authors": "authors", "categories": "categories", "link": "url",
        "saving": True, "mail_to": None,
    }  # fmt: skip


# ---- by day and by depth --------------------------------------------------------------------------------------------


def test_newest_first_by_day(client: Any) -> None:
    answer = client.get("/papers").json()
    assert ids(answer) == ["p5", "p6", "p3", "p4", "p1", "p2", "p7"]
    assert answer["passing"] == 7
    assert answer["hits"][0]["score"] is None
    assert answer["hits"][0]["attributes"]["date"] == "2026-07-01"
    assert ids(client.get("/papers", params={"k": 2, "start": 3}).json()) == ["p4", "p1"]
    filtered = client.get("/papers", params={"where": "categories contains 'cs.LG'"}).json()
    assert ids(filtered) == ["p5", "p4", "p1"]
    days = client.get("/papers/days").json()["days"]
    assert days[0] == {"day": "2026-07-01", "count": 2}
    assert days[-1] == {"day": None, "count": 1}
    assert sum(day["count"] for day in days) == 7
    assert client.get("/papers/days", params={"where": "authors contains 'Emmy Noether'"}).json()["days"] == [
        {"day": "2026-06-30", "count": 1}
    ]


def test_depth_is_that_of_the_slow_computation(client: Any, papers: Index) -> None:
    for where in (None, "categories contains 'cs.LG'"):
        params = {"where": where} if where else {}
        central = client.get("/papers/depth", params=params).json()
        outlying = client.get("/papers/depth", params={**params, "order": "outlying"}).json()
        names = [name for name in (f"p{n}" for n in range(1, 8)) if where is None or name in ("p1", "p4", "p5")]
        vectors = np.array([item.vector for item in papers.get(names)], dtype=np.float64)
        slow = {
            name: float(np.mean([1 + vectors[row] @ vectors[other] for other in range(len(names)) if other != row]))
            for row, name in enumerate(names)
        }
        expected = sorted(names, key=lambda name, slow=slow: -slow[name])  # type: ignore[misc]
        assert ids(central) == expected
        assert ids(outlying) == expected[::-1]
        np.testing.assert_allclose([hit["score"] for hit in central["hits"]], sorted(slow.values())[::-1], atol=1e-6)
        assert f"among the {len(names)} of the selection" in central["how"]


def test_a_selection_of_one_or_none_has_no_depth(client: Any) -> None:
    one = client.get("/papers/depth", params={"where": "categories contains 'q-bio'"}).json()
    assert (ids(one), one["hits"][0]["score"], one["how"]) == (["p6"], None, "one paper alone has no depth")
    none = client.get("/papers/depth", params={"where": "categories contains 'nothing'"}).json()
    assert (none["hits"], none["passing"]) == ([], 0)


@pytest.mark.parametrize(
    ("path", "status", "parameter"),
    [
        ("/papers?k=0", 422, "k"), ("/papers?k=101", 422, "k"), ("/papers?start=-1", 422, "start"),
        ("/papers?start=99999999", 422, "start"), ("/papers?where=yeer%20%3E%205", 400, "where"),
        ("/papers/depth?order=middle", 422, "order"), ("/papers/days?where=(", 400, "where"),
        ("/papers/depth?where=date%20%3E%205", 400, "where"),
    ],
)  # fmt: skip
def test_wrong_requests_name_what_is_wrong(client: Any, path: str, status: int, parameter: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, parameter)


def test_an_empty_index_lists_nothing(start: Any, tmp_path: Path) -> None:
    empty = Index.create(tmp_path / "empty.index", dimension=32)
    empty.add(["a"], np.eye(1, 32), attributes={"day": [date(2026, 1, 1)]})
    empty.delete(["a"])
    client = start(index=empty).client
    assert client.get("/papers").json()["hits"] == []
    assert client.get("/papers/days").json()["days"] == []
    assert client.get("/papers/depth").json()["hits"] == []


# ---- saved searches -------------------------------------------------------------------------------------------------


def save(client: Any, name: str = "Graphs", **fields: str) -> dict[str, Any]:
    answer = client.post("/saved", json={"name": name, **fields})
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def test_what_is_new_is_what_another_process_added_since(client: Any, add: Any) -> None:
    search = save(client, query="graph networks", where="categories contains 'cs.IR'")
    assert search["new"] == 0
    key = search["key"]
    assert client.post(f"/saved/{key}/visit", json={}).json()["passing"] == 0
    add("n1", "Graph networks recommend books")
    add("n2", "Robots pour coffee", categories=("cs.RO",))
    add("n3", "Whales recommend tea", day=date(2020, 1, 1))  # added late: its day is long past
    (listed,) = client.get("/saved").json()["searches"]
    assert listed["new"] == 2
    looked = client.get(f"/saved/{key}/digest").json()
    assert ids(looked) == ["n1", "n3"]  # by meaning
    assert looked["hits"][0]["score"] > looked["hits"][1]["score"]
    assert looked["passing"] == 2
    assert client.get("/saved").json()["searches"][0]["new"] == 2  # looking without a visit marks nothing
    assert ids(client.post(f"/saved/{key}/visit", json={}).json()) == ["n1", "n3"]
    assert client.get("/saved").json()["searches"][0]["new"] == 0


def test_a_reload_belongs_to_the_visit_and_the_next_day_does_not(clocked: Any, add: Any) -> None:
    client, clock = clocked
    key = save(client)["key"]
    clock.now += timedelta(days=1)
    add("n1", "One")
    visit = f"/saved/{key}/visit"
    assert ids(client.post(visit, json={}).json()) == ["n1"]
    clock.now += timedelta(minutes=10)
    add("n2", "Two")
    assert ids(client.post(visit, json={}).json()) == ["n1", "n2"]
    first_visit = clock.now
    clock.now += timedelta(days=1)
    later = client.post(visit, json={}).json()
    assert later["passing"] == 0
    assert datetime.fromisoformat(later["search"]["since"]) == first_visit
    add("n3", "Three")
    assert ids(client.post(visit, json={}).json()) == ["n3"]
    clock.now -= timedelta(days=400)  # a clock that is put back hides nothing
    add("n4", "Four")
    assert set(ids(client.post(visit, json={}).json())) == {"n3", "n4"}


def test_saved_searches_outlive_the_server(start: Any, papers: Index, add: Any) -> None:
    first = start(index=papers)
    key = save(first.client, query="tea")["key"]
    first.stop()
    first.client = start(index=Index.open(papers.path)).client  # so that the fixture has a client to close
    add("n1", "Green tea")
    assert [search["new"] for search in first.client.get("/saved").json()["searches"]] == [1]
    assert ids(first.client.post(f"/saved/{key}/visit", json={}).json()) == ["n1"]
    folder = papers.path.with_name("papers.index-saved")
    assert sorted(path.name for path in folder.iterdir()) == ["arrivals.jsonl", "lock", "searches.json"]
    assert folder.stat().st_mode & 0o077 == 0


def test_a_search_by_words_holds_the_words(client: Any, add: Any) -> None:
    key = save(client, query="tea ceremony", mode="lexical")["key"]
    add("n1", "The tea ceremony")
    add("n2", "Robots and songs")
    add("o'brien", "Some tea")
    answer = client.get(f"/saved/{key}/digest").json()
    assert ids(answer) == ["n1", "o'brien"]
    assert answer["passing"] == 2


def test_a_digest_of_a_query_is_short_and_says_how_many_there_are(client: Any, add: Any) -> None:
    key = save(client, query="tea")["key"]
    for number in range(NEAREST + 5):
        add(f"n{number:02d}", f"Tea number {number}")
    answer = client.get(f"/saved/{key}/digest").json()
    assert len(answer["hits"]) == NEAREST
    assert answer["passing"] == NEAREST + 5


def test_nothing_is_written_until_somebody_saves(client: Any, papers: Index) -> None:
    for path in ("/papers", "/saved", "/papers/depth"):
        assert client.get(path).status_code == 200
    assert not papers.path.with_name("papers.index-saved").exists()


@pytest.mark.parametrize(
    ("body", "status", "parameter"),
    [
        ({"name": ""}, 400, "name"), ({"name": " \t"}, 400, "name"), ({"name": "x" * 81}, 400, "name"),
        ({"name": "a\nBcc: x@example.org"}, 400, "name"), ({"name": "a\u0000"}, 400, "name"),
        ({"name": "a\u2028b"}, 400, "name"), ({"name": "\ud800"}, 422, "name"), ({}, 422, "name"),
        ({"name": "a", "where": "nothing = 3"}, 400, "where"), ({"name": "a", "where": "x" * 4001}, 422, "where"),
        ({"name": "a", "query": "q" * 2001}, 422, "query"), ({"name": "a", "mode": "magic"}, 422, "mode"),
        ({"name": "a", "key": "0" * 32}, 422, "key"), ({"name": "a", "token": "x"}, 422, "token"),
    ],
)  # fmt: skip
def test_what_cannot_be_saved_is_refused(
    client: Any, papers: Index, body: dict[str, Any], status: int, parameter: str
) -> None:
    answer = client.post("/saved", content=json.dumps(body), headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, parameter)
    assert not papers.path.with_name("papers.index-saved").joinpath("searches.json").exists()


def test_names_are_text_and_stay_text(client: Any, papers: Index) -> None:
    before = sorted(papers.path.parent.iterdir())
    for name in ("../../etc/passwd", "C:\\x", ".", "名前 🍎", "<script>alert(1)</script>"):
        assert save(client, name)["name"] == name
    folder = papers.path.with_name("papers.index-saved")
    assert sorted(papers.path.parent.iterdir()) == sorted([*before, folder])
    assert {path.name for path in folder.iterdir()} == {"arrivals.jsonl", "lock", "searches.json"}
    again = client.post("/saved", json={"name": " 名前 🍎 "})
    assert (again.status_code, again.json()["error"]["param"]) == (400, "name")


@pytest.mark.parametrize("key", ["..", "..%2F..%2Fx", "searches", "0" * 31, "0" * 32 + "x", "0" * 31 + "G", "%00" * 32])
def test_keys_are_digits_and_lead_nowhere_else(client: Any, key: str) -> None:
    save(client)
    for method, path in (("DELETE", f"/saved/{key}"), ("GET", f"/saved/{key}/digest"), ("GET", f"/feeds/{key}.atom")):
        assert client.request(method, path).status_code in (404, 405, 422)
    assert client.get(f"/saved/{'0' * 32}/digest").status_code == 404
    assert client.delete(f"/saved/{'0' * 32}").json()["error"]["code"] == "no_such_search"


def test_deleted_is_gone(client: Any) -> None:
    one, other = save(client, "one"), save(client, "other")
    assert client.delete(f"/saved/{one['key']}").status_code == 200
    assert [search["name"] for search in client.get("/saved").json()["searches"]] == ["other"]
    for path in (f"/saved/{one['key']}/digest", f"/{one['feed']}"):
        assert client.get(path).status_code == 404
    assert client.get(f"/{other['feed']}").status_code == 200


def test_there_is_a_most_of_searches(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedworks.serving.papers.saved.MOST_SEARCHES", 2)
    save(client, "a")
    save(client, "b")
    assert "delete one first" in client.post("/saved", json={"name": "c"}).json()["error"]["message"]


def test_another_page_cannot_change_anything(client: Any) -> None:
    """What a page elsewhere can send without asking first: forms and plain text, never JSON (CORS is not allowed)."""
    key = save(client)["key"]
    for path in ("/saved", f"/saved/{key}/visit", f"/saved/{key}/mail", f"/saved/{key}/send"):
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", None):
            headers = {"content-type": kind} if kind else {}
            answer = client.post(path, content=b'{"name": "b", "daily": true}', headers=headers)
            assert answer.status_code in (415, 422), (path, kind)
    assert client.options(f"/saved/{key}", headers={"origin": "https://elsewhere.example"}).status_code == 405
    assert [search["name"] for search in client.get("/saved").json()["searches"]] == ["Graphs"]


def test_everything_but_feeds_needs_the_key(start: Any, papers: Index) -> None:
    client = start(index=papers, api_key="right-key").client
    bearer = {"authorization": "Bearer right-key"}
    search = client.post("/saved", json={"name": "Graphs"}, headers=bearer).json()
    for method, path in (
        ("GET", "/papers"), ("GET", "/papers/days"), ("GET", "/papers/depth"), ("GET", "/saved"), ("POST", "/saved"),
        ("DELETE", f"/saved/{search['key']}"), ("GET", f"/saved/{search['key']}/digest"),
        ("POST", f"/saved/{search['key']}/visit"), ("POST", f"/saved/{search['key']}/send"),
    ):  # fmt: skip
        assert client.request(method, path, json={}).status_code == 401, path
    assert "?token=" in search["feed"]
    assert client.get(f"/{search['feed']}").status_code == 200
    bare = search["feed"].partition("?")[0]
    answers = [client.get(f"/{path}") for path in (bare, f"{bare}?token=wrong", f"feeds/{'0' * 32}.atom?token=x")]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.json()["error"]["message"] for answer in answers}) == 1


def test_without_a_folder_nothing_is_saved_and_it_says_so(start: Any, papers: Index, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    client = start(index=papers, papers=PapersSettings(folder=blocked / "saved")).client
    answer = client.post("/saved", json={"name": "a"})
    assert answer.status_code == 500
    assert "name another one in EMBEDWORKS_SAVED_SEARCHES" in answer.json()["error"]["message"]
    assert str(tmp_path) not in answer.text
    assert client.get("/papers").status_code == 200


def test_a_damaged_file_is_named_as_such_and_the_papers_go_on(client: Any, papers: Index) -> None:
    save(client)
    papers.path.with_name("papers.index-saved").joinpath("searches.json").write_text('{"format": 1, "searches": [{}]}')
    answer = client.get("/saved")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "not_stored")
    assert client.get("/papers").status_code == 200


def test_a_filter_that_no_longer_fits_is_marked(client: Any, papers: Index) -> None:
    save(client, where="categories contains 'cs.IR'")
    state = papers.path.with_name("papers.index-saved") / "searches.json"
    state.write_text(state.read_text().replace("categories contains", "gone contains"))
    (search,) = client.get("/saved").json()["searches"]
    assert search["new"] is None
    assert client.get(f"/saved/{search['key']}/digest").json()["error"]["param"] == "where"


def test_ids_are_cut_into_filters_that_can_be_read() -> None:
    names = [f"{'x' * (number % 300)}{number}" for number in range(2_000)]
    portions = _portions(names)
    assert [name for portion in portions for name in portion] == names
    assert max(sum(2 * len(name) + 4 for name in portion) for portion in portions) <= 8_000
    assert _portions([]) == []
