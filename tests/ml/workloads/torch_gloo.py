"""torch.distributed: torchrun starts two ranks that train one model over gloo and
the job's loopback."""

import os
import subprocess
import sys

import contract


def rank_main():
    import torch
    import torch.distributed as dist
    from torch import nn
    from torch.nn.parallel import DistributedDataParallel

    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(7)
    model = DistributedDataParallel(nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    weights = torch.arange(8.0).unsqueeze(1)
    generator = torch.Generator().manual_seed(rank)
    losses = []
    for _ in range(60):
        x = torch.randn(64, 8, generator=generator)
        loss = ((model(x) - x @ weights) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    flat = torch.cat([p.detach().flatten() for p in model.parameters()])
    all_ranks = [torch.zeros_like(flat) for _ in range(world)]
    dist.all_gather(all_ranks, flat)
    contract.expect(
        all(torch.equal(all_ranks[0], other) for other in all_ranks), "the ranks differ"
    )
    total = torch.tensor([rank + 1.0])
    dist.all_reduce(total)
    dist.barrier()
    if rank == 0:
        contract.expect(losses[-1] < 0.1 < losses[0], f"the loss went {losses}")
        contract.result(ranks=world, sum=total.item(), loss_fell=True)
    dist.destroy_process_group()


def main():
    if "RANK" in os.environ:
        rank_main()
        return
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    sys.exit(subprocess.run([*torchrun, "--nproc-per-node=2", __file__], check=False).returncode)


if __name__ == "__main__":
    main()
