"""Environment to job: which bundle, where machines get it, how a command starts in it, and the folders that are written for people.

The one room that knows both sides: `wingspan.pools` and `wingspan.environments` import nothing of each other.
"""
