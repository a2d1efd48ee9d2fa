"""Random faults: maps and runs are made, things are killed, cut, filled and stopped at random, and a fresh
process judges what became of them.

``plans`` decides by a seed what happens in a round; ``rounds`` does it, with the faults of ``injected`` on
the processes of a ``lane``; the ``actors`` are other processes that make, watch and change the map or run;
``judge`` says in a fresh one what is wrong in the end. A few rounds are in the test suite;
``make faults SEED=1 ROUNDS=100`` does more. Only processes of a lane are ever signalled.
"""
