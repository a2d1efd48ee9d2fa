"""From an environment to a job: which bundle, where machines fetch it, how a command starts; rendered
folders.

This room knows both sides. `wingspan.pools` and `wingspan.environments` import nothing of each other.
"""
