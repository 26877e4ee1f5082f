"""What learners and policies know of every actor and every ensemble of critics."""

# TorchScript reads the attributes' types, which must not be strings: no postponed annotations here

from torch import nn


class Actor(nn.Module):
    """A deterministic policy on features.

    Attributes:
        action_dim: action components.
        dropout: probability p of the hidden layers' dropout.
        dropout_width: entries of a dropout mask.
    """

    action_dim: int
    dropout: float
    dropout_width: int


class CriticEnsemble(nn.Module):
    """Critics of features and proposals.

    Attributes:
        num_critics: E, the size of the ensemble.
    """

    num_critics: int
