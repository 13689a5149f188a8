"""The command line: ``valuestore run | log | show | sql | db | init | stats``.

Exit codes, for all commands::

    0    done
    1    the pipeline's own code raised
    2    the command line asks for what cannot be: no such task, an argument that does not parse, a setting
    3    the repository, its database or its store cannot be used
    130  interrupted with Ctrl-C; what finished before is kept
    141  whoever read the output stopped, as in ``valuestore log | head -1``

Results go to stdout, everything else to stderr. Text from records is shown with control characters escaped
and is never read as markup. Each command is a file; what they share is ``terminal`` (how things are shown),
``failure`` (how things go wrong) and ``repository`` (which one is meant).
"""
