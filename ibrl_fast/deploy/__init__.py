"""From a trained agent to one file (export.py), and from the file to a robot (policy.py)."""

from ibrl_fast.deploy.contract import ObservationContract, ObservationField
from ibrl_fast.deploy.policy import Policy, PolicyFileError, load_policy

__all__ = ["ObservationContract", "ObservationField", "Policy", "PolicyFileError", "load_policy"]
