"""What the study of pooling-and-attention is made of: sizes, data, triples, and the checkpoint all designs share."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from embedworks.foundation import InputError
from embedworks.foundation.randomness import random_generator
from embedworks.methods.pooling_and_attention import Config

if TYPE_CHECKING:
    from embedworks.data import Labelled, Pairs
    from embedworks.evaluation.text_suite import TextSuite
    from embedworks.methods._pooling_and_attention_layers import LayerTasks
    from embedworks.training.causal_pretraining import PretrainedDecoder


@dataclass(frozen=True)
class StudySize:
    """What a scale costs."""

    seeds: tuple[int, ...]
    """Training seeds."""
    decoder_layers: int
    """Layers of the decoder that is pretrained here."""
    decoder_dimension: int
    """Its width."""
    vocabulary: int
    """Largest number of tokens of its tokenizer."""
    pretraining_texts: int | None
    """Texts it is pretrained on; all where None."""
    pretraining_steps: int
    """Steps of its pretraining."""
    training: Config
    """Settings of every design; design, backbone and seed are filled in."""
    triples: int
    """Training triples."""
    layer_sets: int | None
    """SemEval sets of the layer analysis beside STS-B; all, with classes and retrieval, where None."""


# float32, as bfloat16 gains nothing at this width: the matrix products are too small to pay for the casts.
_TRAINING = replace(
    Config.small(), latents=32, batch_size=32, learning_rate=5e-4, max_tokens=48, epochs=1.0, precision="float32"
)
SIZES: Final[dict[str, StudySize]] = {
    "quick": StudySize((0,), 2, 64, 1_000, 1_500, 20, replace(_TRAINING, latents=8), 128, 0),
    "default": StudySize((0, 1, 2), 4, 128, 6_000, None, 500, _TRAINING, 1_920, None),
}


@dataclass(frozen=True)
class StudyData:
    """The catalogued sets the study uses."""

    sets: dict[str, dict[str, Any]]
    suite: TextSuite

    @classmethod
    def load(cls, size: StudySize) -> StudyData:
        """Load the five data sets; STS sets that overlap with the training data are left out of the suite."""
        from embedworks.data import STS_CLEAN_OF_STSB, load_data_set
        from embedworks.evaluation.text_suite import TextSuite

        names = ("stsb-en", "sts12-16", "banking77", "cranfield", "dbpedia-entity-5k")
        sets: dict[str, dict[str, Any]] = {name: dict(load_data_set(name)) for name in names}
        suite = TextSuite(
            sts={name: sets["sts12-16"][name] for name in STS_CLEAN_OF_STSB},
            labelled={"banking77": (sets["banking77"]["train"], sets["banking77"]["test"])},
            judged={name: sets[name]["test"] for name in ("cranfield", "dbpedia-entity-5k")},
            draws=5 if len(size.seeds) > 1 else 2,
            clusterings=3 if len(size.seeds) > 1 else 2,
        )
        return cls(sets, suite)

    def plain_texts(self) -> list[str]:
        """Return the texts a decoder is pretrained on; none of them is a test text of the suite's STS sets."""
        stsb = self.sets["stsb-en"]["train"]
        return [
            *stsb.a,
            *stsb.b,
            *self.sets["dbpedia-entity-5k"]["test"].corpus.texts,
            *self.sets["cranfield"]["test"].corpus.texts,
            *self.sets["banking77"]["train"].texts,
        ]

    def triples(self, size: StudySize, *, progress: bool) -> Pairs:
        """Return the triples every design is trained on.

        STS-B training pairs scored 4 or more, both ways round, and titles with the texts of DBpedia and Cranfield; the
        hard negative is mined with the packaged encoder. No label and no judgement of a test set is used.
        """
        from embedworks.data import Pairs
        from embedworks.encoders import load
        from embedworks.training import mine_hard_negatives

        stsb = self.sets["stsb-en"]["train"]
        alike = [(a, b) for a, b, score in zip(stsb.a, stsb.b, stsb.scores, strict=True) if score >= 4 and a != b]
        titled = [
            (title, body)
            for name in ("dbpedia-entity-5k", "cranfield")
            for title, body in _titles_and_bodies(self.sets[name]["test"].corpus)
        ]
        generator = random_generator(0, "pooling-and-attention", "triples")
        similar = [*alike, *((b, a) for a, b in alike)]
        chosen = [similar[row] for row in generator.permutation(len(similar))[: size.triples * 5 // 8]]
        chosen += [titled[row] for row in generator.permutation(len(titled))[: size.triples - len(chosen)]]
        pairs = Pairs.from_columns([query for query, _ in chosen], [positive for _, positive in chosen])
        mined, _ = mine_hard_negatives(pairs, load("minilm").encode, negatives_per_query=1, progress=progress)
        return mined

    def layer_tasks(self, size: StudySize) -> LayerTasks:
        """Return the tasks of the layer analysis: 25 STS sets, 30 and 20 texts an intent, both retrieval sets."""
        from embedworks.methods._pooling_and_attention_layers import LayerTasks

        banking = self.sets["banking77"]
        intents = (_first_of_each(banking["train"], 30), _first_of_each(banking["test"], 20))
        sts = dict(list(self.sets["sts12-16"].items())[: size.layer_sets])
        small = size.layer_sets is not None
        return LayerTasks(
            sts={"stsb-en test": self.sets["stsb-en"]["test"], **sts},
            labelled={} if small else {"banking77": intents},
            judged={} if small else self.suite.judged,
        )


def _titles_and_bodies(corpus: Any) -> list[tuple[str, str]]:
    titles = corpus.attributes["title"].to_pylist()
    pairs = []
    for title, text in zip(titles, corpus.texts, strict=True):
        body = text.removeprefix(title or "").lstrip(" .")
        if title and len(body) > 20:
            pairs.append((title, body))
    return pairs


def _first_of_each(found: Labelled, count: int) -> Labelled:
    from embedworks.data import Labelled

    taken: dict[str, int] = {}
    rows = []
    for text, label in zip(found.texts, found.labels, strict=True):
        taken[label] = taken.get(label, 0) + 1
        if taken[label] <= count:
            rows.append((text, label))
    return Labelled.from_columns([text for text, _ in rows], [label for _, label in rows])


def pretrained_decoder(data: StudyData, size: StudySize, *, progress: bool) -> PretrainedDecoder:
    """Return the one checkpoint that every design starts from; kept in the cache folder."""
    from embedworks.data.download import cache_folder
    from embedworks.encoders import decoder_config, train_tokenizer
    from embedworks.training.causal_pretraining import PretrainingSettings, pretrain_causal_decoder

    texts = data.plain_texts()[:: 1 if size.pretraining_texts is None else 15][: size.pretraining_texts]
    tokenizer = train_tokenizer(texts, vocabulary=size.vocabulary, max_length=128)
    return pretrain_causal_decoder(
        texts,
        config=decoder_config(
            vocabulary=len(tokenizer), layers=size.decoder_layers, dimension=size.decoder_dimension, heads=4
        ),
        tokenizer=tokenizer,
        settings=PretrainingSettings(steps=size.pretraining_steps),
        cache=cache_folder(),
        progress=progress,
    )


def require_published_inputs() -> None:
    """Refuse the paper's scale before any work where its weights or triples are missing.

    Raises:
        InputError: The weights of Mistral-7B or the triples are not on this machine.
    """
    from huggingface_hub import try_to_load_from_cache

    backbone = Config().backbone
    if not isinstance(try_to_load_from_cache(backbone, "config.json"), str):
        raise InputError(
            f"the weights of {backbone} are not on this machine",
            where="scale paper",
            mend=f"fetch them with: hf download {backbone}, and mind that training wants a GPU of 80 GB",
        )
    published_triples()


def published_triples() -> Pairs:
    """Return the training triples of the paper from ``$EMBEDWORKS_DATA/ir-data/train.parquet``.

    Raises:
        InputError: The file is missing or has no columns query, positive, negatives.
    """
    from embedworks.data import Pairs

    path = Path(os.environ.get("EMBEDWORKS_DATA", "")) / "ir-data" / "train.parquet"
    if not path.is_file():
        raise InputError(
            "the published training triples are not on this machine",
            where=str(path),
            mend="save the data set yixuantt/ir_data there as Parquet with columns query, positive, negatives",
        )
    return Pairs.read(path)
