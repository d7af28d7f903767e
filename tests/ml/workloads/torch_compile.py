"""torch.compile: inductor writes C++, compiles it in worker processes with the
host's compiler, and loads what came out from its cache in /tmp."""

import shutil

import torch

import contract


def main():
    contract.expect(shutil.which("g++"), "no g++ on this machine: apt-get install g++")

    @torch.compile
    def step(x, w):
        return torch.relu(x @ w).softmax(-1).square().sum(0)

    torch.manual_seed(7)
    x, w = torch.randn(32, 16), torch.randn(16, 8, requires_grad=True)
    compiled = step(x, w)
    compiled.square().sum().backward()
    plain = torch.relu(x @ w).softmax(-1).square().sum(0)
    contract.expect(torch.allclose(compiled, plain, atol=1e-4), "compiled and plain code differ")
    contract.result(sum=compiled.sum().item(), gradient=w.grad.abs().sum().item())


if __name__ == "__main__":
    main()
