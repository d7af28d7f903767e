"""PyTorch on the CPU: DataLoader workers that hand their batches over in shared
memory, by descriptor and by name, a falling loss, and a checkpoint."""

import torch
import torch.multiprocessing
from torch import nn
from torch.utils.data import DataLoader, Dataset

import contract


class Spirals(Dataset):
    """Two interleaved spirals; a worker computes each item."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        label = index % 2
        angle = torch.tensor(index / self.count * 4.5)
        radius = angle / 4.5
        turn = angle + label * torch.pi
        point = torch.stack([radius * torch.cos(turn), radius * torch.sin(turn)])
        return point, label, torch.zeros(64, 64)


def train(strategy):
    torch.multiprocessing.set_sharing_strategy(strategy)
    torch.manual_seed(7)
    model = nn.Sequential(
        nn.Linear(2, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 2)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    loader = DataLoader(
        Spirals(512),
        batch_size=32,
        num_workers=2,
        shuffle=True,
        persistent_workers=True,
        generator=torch.Generator().manual_seed(7),
    )
    losses = []
    for _ in range(25):
        total = 0.0
        for points, labels, _padding in loader:
            contract.expect(points.is_shared(), "a batch did not come in shared memory")
            loss = nn.functional.cross_entropy(model(points), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        losses.append(total / len(loader))
    return model, losses


def main():
    fell = {}
    for strategy in ("file_descriptor", "file_system"):
        model, losses = train(strategy)
        contract.expect(losses[-1] < 0.2 < losses[0], f"with {strategy} the loss went {losses}")
        fell[strategy] = True
        path = contract.outputs() / f"{strategy}.pt"
        torch.save(model.state_dict(), path)
        again = torch.load(path, weights_only=True, mmap=True)
        same = all(torch.equal(v, again[k]) for k, v in model.state_dict().items())
        contract.expect(same, "the checkpoint reads back differently")
    contract.result(threads=torch.get_num_threads(), **fell)


if __name__ == "__main__":
    main()
