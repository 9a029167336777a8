"""The one door: the protocol fits the data, whatever form the data come in."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedworks.data import Corpus, Judged, Labelled, ScoredPairs
from embedworks.evaluation import evaluate
from embedworks.foundation import InputError


def test_a_record_a_folder_and_a_mapping_give_the_same(encoder, judged: Judged, tmp_path: Path) -> None:
    judged.write(tmp_path / "judged")
    (by_record,) = evaluate(encoder, judged, system="words")
    (by_folder,) = evaluate(encoder, tmp_path / "judged", system="words")
    (by_split,) = evaluate(encoder, {"test": judged}, system="words", data_set="mine")
    assert by_record.per_unit == by_folder.per_unit == by_split.per_unit
    assert by_record.data_hash == by_folder.data_hash
    assert (by_record.data_set, by_split.data_set) == ("judged set", "mine")
    assert by_folder.data_set == str(tmp_path / "judged")


def test_files_are_told_apart_by_their_columns(encoder, scored_pairs, labelled, tmp_path: Path) -> None:
    scored_pairs.write(tmp_path / "pairs.parquet")
    labelled[0].write(tmp_path / "texts.parquet")
    assert [result.task for result in evaluate(encoder, tmp_path / "pairs.parquet", system="w")] == ["sts"]
    assert [result.task for result in evaluate(encoder, tmp_path / "texts.parquet", system="w")] == ["clustering"]


def test_only_the_test_split_of_pairs_is_judged(encoder, scored_pairs: ScoredPairs) -> None:
    other = ScoredPairs.from_columns(["x", "y z"], ["x", "z"], [1.0, 2.0])
    (result,) = evaluate(encoder, {"train": other, "test": scored_pairs}, system="w", data_set="pairs")
    assert (result.data_set, len(result.unit_ids)) == ("pairs", 4)


def test_many_data_sets_give_one_result_each(encoder, scored_pairs: ScoredPairs) -> None:
    results = evaluate(encoder, {"2012.a": scored_pairs, "2013.b": scored_pairs}, system="w", data_set="sts")
    assert [result.data_set for result in results] == ["sts/2012.a", "sts/2013.b"]


def test_labelled_splits_give_three_results_and_encode_each_text_once(
    encoder, labelled: tuple[Labelled, Labelled]
) -> None:
    train, test = labelled
    results = evaluate(encoder, {"train": train, "test": test}, system="w", data_set="toy")
    assert [result.task for result in results] == ["classification", "nearest-neighbours", "clustering"]
    assert all(len(result.unit_ids) == len(test) for result in results)
    assert len(encoder.encoded) == len({*train.texts, *test.texts})


def test_what_fits_no_protocol_is_refused(encoder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Corpus fits no protocol"):
        evaluate(encoder, Corpus.from_columns(["a"], ["b"]), system="w")
    with pytest.raises(InputError, match=r"neither a catalogued data set nor a file.*stsb-en"):
        evaluate(encoder, "no-such-data", system="w")
    Corpus.from_columns(["a"], ["b"]).write(tmp_path / "corpus.parquet")
    with pytest.raises(InputError, match="has the columns id, text"):
        evaluate(encoder, tmp_path / "corpus.parquet", system="w")


def test_catalogued_sets_are_judged_by_name(encoder, data_folder: Path) -> None:
    (cranfield,) = evaluate(encoder, "cranfield", system="w")
    assert (cranfield.data_set, cranfield.task, len(cranfield.unit_ids)) == ("cranfield", "retrieval", 225)
    assert cranfield.value > 0.02
    (dbpedia,) = evaluate(encoder, "dbpedia-entity-5k", system="w")
    assert len(dbpedia.unit_ids) == 40
    (stsb,) = evaluate(encoder, "stsb-en", system="w")
    assert (stsb.data_set, len(stsb.unit_ids)) == ("stsb-en", 1379)
    sts = evaluate(encoder, "sts12-16", system="w")
    assert len(sts) == 25
    assert sts[0].data_set.startswith("sts12-16/2012.")
