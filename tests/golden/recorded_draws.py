"""Keep every random number that a solver of the reference draws; for the scripts that record goldens."""

import contextlib

import torch


@contextlib.contextmanager
def recorded_draws():
    """Gives a list that `torch.randn` and `torch.rand` add to, call by call."""
    draws = []

    def recorded(draw):
        def call(*args, **kwargs):
            draws.append(draw(*args, **kwargs))
            return draws[-1].clone()

        return call

    randn, rand = torch.randn, torch.rand
    torch.randn, torch.rand = recorded(randn), recorded(rand)
    try:
        yield draws
    finally:
        torch.randn, torch.rand = randn, rand
