"""Two gloo processes against one process with the doubled batch: loss, gradients, gathered ids.

Run as a program (rank, file of the store, folder of results) this file is one of the two processes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from embedworks.foundation import InputError
from embedworks.objectives import (
    ContrastiveDistillation,
    CrossDeviceNegatives,
    FocalInfoNCE,
    InfoNCE,
    ManyPositiveInfoNCE,
    Matryoshka,
    MixedNegatives,
    all_gather_rows,
    encode_in_chunks,
    false_negative_mask,
)

# name: (objective, numbers of rows of the two processes, their widths of negatives, slots of positives, dtype)
CASES = {
    "infonce": (lambda: InfoNCE(0.1), (4, 4), (2, 2), 1, torch.float32),
    "symmetric": (lambda: InfoNCE(0.1, symmetric=True), (4, 4), (0, 0), 1, torch.float64),
    "uneven rows and widths": (lambda: InfoNCE(0.1, symmetric=True), (3, 5), (2, 1), 1, torch.float64),
    "one row": (lambda: InfoNCE(0.1), (1, 1), (3, 3), 1, torch.float64),
    "focal": (lambda: FocalInfoNCE(0.1, detach_weights=False, symmetric=True), (4, 2), (2, 2), 1, torch.float64),
    "many positives": (lambda: ManyPositiveInfoNCE(0.1), (3, 3), (2, 3), 2, torch.float64),
    "matryoshka": (lambda: Matryoshka(InfoNCE(0.1), [4, 2], weights=[1, 0.5]), (4, 4), (2, 2), 1, torch.float64),
    "distilled": (lambda: ContrastiveDistillation(temperature=0.1), (3, 4), (2, 1), 1, torch.float64),
    "mixed": (lambda: MixedNegatives(InfoNCE(0.1), seed=3), (4, 4), (3, 2), 1, torch.float64),
    "mixed focal matryoshka": (
        lambda: MixedNegatives(Matryoshka(FocalInfoNCE(0.1), [4, 3]), seed=3),
        (4, 4),
        (2, 2),
        1,
        torch.float64,
    ),
    "cached": (lambda: InfoNCE(0.1), (4, 4), (2, 2), 1, torch.float64),
}


def encoder(dtype):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4)).to(dtype)


def whole_batch(name):
    """The doubled batch: texts, which exist, ids."""
    _, counts, widths, slots, dtype = CASES[name]
    generator = torch.Generator().manual_seed(len(name))
    batch, width = sum(counts), max(widths)
    texts = torch.randn(batch, 1 + slots + width, 6, dtype=dtype, generator=generator)
    present = torch.rand(batch, width, generator=generator) > 0.3
    present[: counts[0], widths[0] :] = False
    present[counts[0] :, widths[1] :] = False
    query_ids = torch.randint(0, 4, (batch,), generator=generator)
    positive_ids = torch.randint(0, 6, (batch,), generator=generator)
    negative_ids = torch.randint(0, 9, (batch, width), generator=generator).masked_fill(~present, -1)
    return texts, present, (query_ids, positive_ids, negative_ids)


def loss_of(name, objective, encode, texts, present, excluded):
    slots = CASES[name][3]
    rows, columns = texts.shape[:2]
    flat = texts.reshape(-1, 6)
    encoded = encode_in_chunks(encode, flat.split(5)) if name == "cached" else encode(flat)
    vectors = encoded.reshape(rows, columns, -1)
    query, positive, negatives = vectors[:, 0], vectors[:, 1 : 1 + slots], vectors[:, 1 + slots :]
    masks = {} if slots > 1 else {"excluded": excluded}
    if name == "distilled":
        generator = torch.Generator().manual_seed(0)
        masks["teacher"] = torch.rand(excluded.shape, dtype=torch.float64, generator=generator)
    return objective(query, positive if slots > 1 else positive[:, 0], negatives, present=present, **masks)


def one_of_two_processes(rank, store, folder):
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    for number, name in enumerate(CASES):
        make, counts, widths, slots, dtype = CASES[name]
        texts, present, ids = whole_batch(name)
        own = slice(0, counts[0]) if rank == 0 else slice(counts[0], None)
        columns = slice(0, 1 + slots + widths[rank])
        own_ids = [ids[0][own], ids[1][own], ids[2][own, : widths[rank]]]
        gathered = [all_gather_rows(part) for part in own_ids]
        model = nn.parallel.DistributedDataParallel(encoder(dtype))
        loss = loss_of(
            name,
            CrossDeviceNegatives(make()),
            model.module if name == "cached" else model,
            texts[own, columns],
            present[own, : widths[rank]],
            false_negative_mask(*gathered),
        )
        loss.backward()
        gradients = [p.grad for p in model.parameters()]
        if name == "cached":  # replayed chunks pass DDP by; average as it does
            for gradient in gradients:
                dist.all_reduce(gradient)
                gradient /= 2
        torch.save({"loss": loss.detach(), "gradients": gradients, "ids": gathered}, f"{folder}/{number}-{rank}.pt")
    # A process without rows is refused in both, at once.
    try:
        CrossDeviceNegatives(InfoNCE())(torch.ones(rank, 2), torch.ones(rank, 2))
    except InputError as error:
        Path(f"{folder}/refused-{rank}.txt").write_text(str(error), encoding="utf-8")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two_processes")
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, str(rank), str(folder / "store"), str(folder)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=240)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(said)
    return folder


@pytest.mark.parametrize("number", range(len(CASES)), ids=list(CASES))
def test_loss_and_gradient_are_those_of_the_doubled_batch(results, number):
    name = list(CASES)[number]
    make, *_, dtype = CASES[name]
    texts, present, ids = whole_batch(name)
    model = encoder(dtype)
    loss = loss_of(name, make(), model, texts, present, false_negative_mask(*ids))
    loss.backward()
    bound = 1e-5 if dtype == torch.float32 else 1e-10
    for rank in range(2):
        got = torch.load(results / f"{number}-{rank}.pt", weights_only=True)
        assert all(torch.equal(a, b) for a, b in zip(got["ids"], ids, strict=True))
        torch.testing.assert_close(got["loss"], loss.detach(), rtol=0, atol=bound)
        assert any(p.grad.abs().max() > 1e-3 for p in model.parameters())
        for gradient, parameter in zip(got["gradients"], model.parameters(), strict=True):
            torch.testing.assert_close(gradient, parameter.grad, rtol=0, atol=bound)


def test_a_process_without_rows_is_refused_in_every_process(results):
    for rank in range(2):
        assert "process 0 has no rows" in (results / f"refused-{rank}.txt").read_text(encoding="utf-8")


def test_without_processes_nothing_changes():
    generator = torch.Generator().manual_seed(0)
    query, positive, negatives = (torch.randn(*s, 4, generator=generator) for s in [(3,), (3,), (3, 2)])
    present = torch.tensor([[True, False]] * 3)
    for objective in (InfoNCE(0.1, symmetric=True), MixedNegatives(InfoNCE(0.1)).eval()):
        alone = CrossDeviceNegatives(objective)(query, positive, negatives, present=present)
        assert torch.equal(alone, objective(query, positive, negatives, present=present))
    assert all_gather_rows(query) is query
    with pytest.raises(InputError, match="axis"):
        all_gather_rows(torch.tensor(1.0))


if __name__ == "__main__":
    one_of_two_processes(int(sys.argv[1]), sys.argv[2], sys.argv[3])
