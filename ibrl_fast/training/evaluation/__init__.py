"""Evaluation of policies: episodes on fixed seeds (evaluator.py), in processes, on a schedule."""
