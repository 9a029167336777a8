"""Behaviour and effect: the judged set is fair and nothing leaks, on made-up packages and on those of this machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest

from embedworks.data import Corpus, DocumentationRetrieval, Pairs, documentation_retrieval, read_documentation
from embedworks.data.documentation_retrieval import _bands, _documents, _groups, _parts
from embedworks.data.words import normalised, words_of
from embedworks.foundation import InputError

TOPICS = ("apple", "bridge", "candle", "desert", "engine", "forest", "garden", "harbour", "island", "jacket", "kettle")
VERBS = ("paint", "polish", "measure", "rotate", "compress", "inspect", "arrange", "unfold", "label", "weigh")


def body(seed: int) -> str:
    """A body of twenty words that hardly two seeds share."""
    return " ".join(f"{TOPICS[(seed * 7 + n * n) % len(TOPICS)]}{seed}x{n}" for n in range(20))


def corpus_of(entries: Sequence[tuple[str, str, str]]) -> Corpus:
    names, texts, packages = (list(column) for column in zip(*entries, strict=True))
    return Corpus.from_columns(names, texts, {"package": packages, "kind": ["function"] * len(names)})


def plain_entries() -> list[tuple[str, str, str]]:
    entries = []
    for number, (verb, topic) in enumerate((verb, topic) for verb in VERBS for topic in TOPICS):
        name = f"pkg{number % 4}.module.{verb}_{topic}"
        summary = f"Take the {topic} and {verb} it with number {number}."
        text = f"{summary}\n\n{body(number)}. Call ``{verb}_{topic}(x)``, a {verb} {topic}."
        entries.append((name, text, f"pkg{number % 4}"))
    return entries


def made() -> DocumentationRetrieval:
    return documentation_retrieval(corpus_of(plain_entries()), held_out_package="pkg3", held_out_documents=20)


def document_of(name: str, text: str) -> str:
    (document,) = _documents(corpus_of([(f"pkg.{name}", text, "pkg")]))
    return document.text


def test_the_parts_of_an_entry() -> None:
    text = f"Read a table from a text file. Much more.\n\nUse pd.read_csv(path), readCSV or `Read CSV`. {body(1)}"
    parts = _parts("read_csv", text)
    assert parts is not None
    assert parts[0] == {"identifier": "read csv", "summary": "Read a table from a text file."}
    assert document_of("read_csv", text).startswith("Much more.\n\nUse (path), or ``.")


def test_a_cut_that_brings_a_query_together_is_followed_by_another() -> None:
    text = f"Open the old door of it.\n\nIf you open read_csv the old door of it, look. {body(1)}"
    assert document_of("read_csv", text).startswith("If you , look.")


@pytest.mark.parametrize(
    ("name", "text", "kinds"),
    [
        ("sum", f"Return the sum of a list of numbers.\n\n{body(1)}", ["summary"]),
        ("run_all", f"Run all.\n\n{body(1)}", ["identifier"]),
        ("a_b", f"Short.\n\n{body(1)}", None),
        ("read_csv", "Read a table from a text file.\n\nToo little is left.", None),
        ("ufunc_one", f"ufunc_one(x, /, out=None)\n\nDo one thing to every cell. {body(1)}", None),
        ("with_fields", f":param x: the first of two arguments here\n\n{body(1)}", None),
    ],
)
def test_which_queries_an_entry_gives(name: str, text: str, kinds: list[str] | None) -> None:
    parts = _parts(name, text)
    assert (None if parts is None else list(parts[0])) == kinds


def test_a_one_word_name_goes_only_where_it_is_spelt_so() -> None:
    text = f"Make a table of contents from headings.\n\nAn Index of pd.Index, by index. {body(1)}"
    assert document_of("Index", text).startswith("An of , by index.")


def test_sizes_and_attributes() -> None:
    result = made()
    assert result.package == "pkg3"
    counts = result.counts
    assert counts["held-out functions, documents"] == 20
    assert counts["held-out package, documents"] == 27
    assert counts["training documents"] == len(plain_entries()) - 47
    assert counts["training pairs"] == 2 * counts["training documents"]
    assert set(result.train.tasks or []) == {"identifier", "summary"}
    for judged in (result.held_out_functions, result.held_out_package):
        assert set(judged.queries["kind"].to_pylist()) == {"identifier", "summary"}
        assert set(judged.relevance) == set(judged.query_ids)
    assert set(result.held_out_package.corpus.attributes["package"].to_pylist()) == {"pkg3"}
    assert result.check_leakage() == []


def test_the_same_seed_gives_the_same_set_and_another_another() -> None:
    corpus = corpus_of(plain_entries())
    ids = [
        documentation_retrieval(
            corpus, seed=seed, held_out_package="pkg3", held_out_documents=20
        ).held_out_functions.corpus.ids
        for seed in (0, 0, 1)
    ]
    assert ids[0] == ids[1] != ids[2]


def test_leakage_is_found_where_there_is_some() -> None:
    sound = made()
    stolen = Pairs.from_columns(
        [*sound.train.queries, "anything at all"],
        [*sound.train.positives, sound.held_out_functions.corpus.texts[0].upper()],
    )
    (finding,) = dataclasses.replace(sound, train=stolen).check_leakage()
    assert finding.startswith("a held-out text stands in training")
    telling = Pairs.from_columns(["read csv"], ["call readCSV first"])
    assert dataclasses.replace(sound, train=telling).check_leakage() == ["a document holds its own query 'read csv'"]


def test_equal_queries_map_to_all_their_documents() -> None:
    same = [(f"pkg{n}.a.load_map", f"Load a map from place {n} of five.\n\n{body(500 + n)}", "pkg3") for n in range(3)]
    judged = documentation_retrieval(
        corpus_of([*plain_entries(), *same]), held_out_package="pkg3", held_out_documents=20
    ).held_out_package
    assert judged.relevance["load map"] == {f"pkg{n}.a.load_map": 1 for n in range(3)}
    assert judged.query_texts.count("load map") == 1


def test_equal_documents_are_one_and_hold_none_of_the_queries() -> None:
    text = f"{body(600)} and then grow tree."
    twins = [
        ("pkg3.a.cut_tree", f"Cut a tree down to the ground.\n\n{text}", "pkg3"),
        ("pkg3.b.grow_tree", f"Grow a tree out of the ground.\n\n{text}", "pkg3"),
        ("pkg3.c.plant_tree", f"Plant a tree into the ground.\n\n{body(600)} and then", "pkg3"),
    ]
    judged = documentation_retrieval(
        corpus_of([*plain_entries(), *twins]), held_out_package="pkg3", held_out_documents=20
    ).held_out_package
    documents = [text for text in judged.corpus.texts if text.startswith(body(600)[:20])]
    assert len(documents) == 1
    assert "grow tree" not in normalised(documents[0])
    merged = {next(iter(judged.relevance[query])) for query in ("cut tree", "grow tree", "plant tree")}
    assert merged == {"pkg3.a.cut_tree"}


def test_a_query_of_too_many_documents_is_no_query() -> None:
    common = [(f"p{n}.get_state", f"Get the state of machine {n} now.\n\n{body(700 + n)}", "pkg3") for n in range(11)]
    judged = documentation_retrieval(
        corpus_of([*plain_entries(), *common]), held_out_package="pkg3", held_out_documents=20
    ).held_out_package
    assert "get state" not in judged.relevance
    assert judged.relevance[normalised("Get the state of machine 4 now.")] == {"p4.get_state": 1}


def test_a_group_is_never_divided() -> None:
    entries = plain_entries()
    for number in range(10):  # the same identifier in two packages; a near copy; an entry like one of the package
        entries.append(
            (f"pkg0.x.share_thing{number}", f"Share thing {number} with others.\n\n{body(800 + number)}", "pkg0")
        )
        entries.append(
            (f"pkg1.y.share_thing{number}", f"Part thing {number} with others.\n\n{body(820 + number)}", "pkg1")
        )
        near = " ".join([*body(840 + number).split()[:-1], "changed"])
        entries.append(
            (f"pkg0.z.first{number}_copy", f"First of two copies {number} here.\n\n{body(840 + number)} " * 1, "pkg0")
        )
        entries.append(
            (f"pkg1.z.second{number}_copy", f"Second of two copies {number} here.\n\n{near} and more", "pkg1")
        )
        entries.append(
            (f"pkg0.w.meet_us{number}", f"Meet us at number {number} today.\n\n{body(860 + number)}", "pkg0")
        )
        entries.append(
            (f"pkg3.w.meet_us{number}", f"Greet us at number {number} today.\n\n{body(880 + number)}", "pkg3")
        )
    corpus = corpus_of(entries)
    groups = _groups(_documents(corpus))
    for seed in range(5):
        result = documentation_retrieval(corpus, seed=seed, held_out_package="pkg3", held_out_documents=40)
        assert result.check_leakage() == []
        train = {groups[document] for document in result.train.positive_ids or []}
        for judged in (result.held_out_functions, result.held_out_package):
            assert not train & {groups[document] for document in judged.corpus.ids}
        everywhere = {*(result.train.positive_ids or []), *result.held_out_functions.corpus.ids}
        assert not any(document.startswith("pkg0.w.meet_us") for document in everywhere)
        assert result.left_out == 10
        assert all(groups[f"pkg0.x.share_thing{n}"] == groups[f"pkg1.y.share_thing{n}"] for n in range(10))


def test_near_copies_share_a_band_and_others_do_not() -> None:
    words = [f"w{n}" for n in range(200)]
    near = [*words[:100], "new", *words[101:]]
    other = [f"v{n}" for n in range(200)]
    assert set(_bands(words)) == set(_bands(list(words)))
    assert set(_bands(words)) & set(_bands(near))
    assert not set(_bands(words)) & set(_bands(other))


def test_bad_requests() -> None:
    corpus = corpus_of(plain_entries())
    with pytest.raises(InputError, match=r"no usable entry of the package 'pgk1'; did you mean 'pkg"):
        documentation_retrieval(corpus, held_out_package="pgk1")
    with pytest.raises(InputError, match="attribute 'package' is missing"):
        documentation_retrieval(Corpus.from_columns(["a"], ["text"]))
    with pytest.raises(InputError, match="1 usable entries are too few"):
        documentation_retrieval(corpus_of(plain_entries()[:1]))


def test_the_package_is_the_one_nearest_to_eight_hundred_entries_where_networkx_is_not() -> None:
    entries = [entry for entry in plain_entries() if entry[2] != "pkg2"]
    python = [(name.replace("pkg1", "python"), text, "python") for name, text, package in entries if package == "pkg1"]
    result = documentation_retrieval(corpus_of([*entries[::2], *python]), held_out_documents=10)
    assert result.package in {"pkg0", "pkg3"}


@pytest.fixture(scope="module")
def real() -> DocumentationRetrieval:
    return documentation_retrieval(read_documentation(max_entries=6_000))


def test_nothing_leaks_from_the_packages_of_this_machine(real: DocumentationRetrieval) -> None:
    assert real.check_leakage() == []
    assert real.package == "networkx"
    assert 300 <= len(real.held_out_package.corpus) <= 1500
    assert len(real.train) > 1_500


def test_no_document_of_this_machine_holds_the_identifier_of_its_entries(real: DocumentationRetrieval) -> None:
    for judged in (real.held_out_functions, real.held_out_package):
        for document, text in zip(judged.corpus.ids, judged.corpus.texts, strict=True):
            joined = f" {' '.join(words_of(text))} "
            for identifier in real.identifiers[document]:
                if " " in identifier:
                    assert f" {identifier} " not in joined
