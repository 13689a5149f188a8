"""Faults: kills, full disks, power cuts, damage, hostile input, servers that fail; and what must survive.

Each part (``parts.py``) is a function of a folder, a size and a seeded source of chance. ``make test`` runs
all of them small, ``make faults`` large::

    make faults                                    # all, with a table at the end
    make faults ARGS="kills flips --scale 0.1"     # some, at a tenth of their full size
    make faults ARGS="kills --seed 7"              # again with the seed that a table names
"""
