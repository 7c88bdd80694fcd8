"""Text: the next character of the topics of Python's own help, by one layer of causal attention.

python -m sam_dash run --problem examples/text_problem.py --out results
"""

import pydoc_data.topics

import torch
from torch import nn

LENGTH, WIDTH = 32, 32  # characters of a sample; features of one
CHARACTERS = sorted(set("\n abcdefghijklmnopqrstuvwxyz.,()'\"_"))


def data():
    """Characters (n, LENGTH) as numbers, and those that follow each."""
    text = "\n".join(topic for _, topic in sorted(pydoc_data.topics.topics.items())).lower()
    kept = [CHARACTERS.index(c) for c in text if c in CHARACTERS][: 800 * (LENGTH + 1)]
    samples = torch.tensor(kept).view(-1, LENGTH + 1)
    samples = samples[torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))]
    x, y = samples[:, :-1], samples[:, 1:]
    return x[:600], y[:600], x[600:], y[600:]


class Attention(nn.Module):
    """Characters (n, LENGTH) -> logits (n, LENGTH, C)."""

    def __init__(self):
        super().__init__()
        self.characters, self.places = nn.Embedding(len(CHARACTERS), WIDTH), nn.Parameter(torch.zeros(LENGTH, WIDTH))
        self.layer = nn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, dropout=0.0, batch_first=True, norm_first=True)
        self.head = nn.Linear(WIDTH, len(CHARACTERS))
        self.register_buffer("later", torch.ones(LENGTH, LENGTH).triu(1).bool())

    def forward(self, x):
        """Each character sees those before it."""
        return self.head(self.layer(self.characters(x) + self.places, src_mask=self.later))


network = Attention
loss = "token_cross_entropy"


def score(outputs, y):
    """The share of characters that are foretold."""
    return (outputs.argmax(-1) == y).float().mean(1)


score_name = "character accuracy"
defaults = {"batch": 20, "lr": 0.05, "epochs": 10, "rho": 0.1, "m": [20, 4, 1], "seeds": "0-1"}
