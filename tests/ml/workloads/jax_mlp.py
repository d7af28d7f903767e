"""JAX on the CPU: XLA compiles the gradient of a small network."""

import jax
import jax.numpy as jnp

import contract


def main():
    keys = jax.random.split(jax.random.key(7), 3)
    x = jax.random.normal(keys[0], (256, 4))
    y = jnp.sin(x.sum(-1, keepdims=True))
    weights = [
        jax.random.normal(keys[1], (4, 32)) * 0.5,
        jax.random.normal(keys[2], (32, 1)) * 0.2,
    ]

    def loss(w):
        return ((jnp.tanh(x @ w[0]) @ w[1] - y) ** 2).mean()

    @jax.jit
    def step(w):
        value, gradient = jax.value_and_grad(loss)(w)
        return value, [a - 0.1 * b for a, b in zip(w, gradient)]

    losses = []
    for _ in range(200):
        value, weights = step(weights)
        losses.append(float(value))
    contract.expect(losses[-1] < 0.5 * losses[0], f"the loss went {losses[0]} to {losses[-1]}")
    contract.result(devices=len(jax.devices()), loss=losses[-1])


if __name__ == "__main__":
    main()
