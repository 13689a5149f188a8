"""The facts that StoreContract consists of, as classes of tests, one file for each side of the contract.

``testing.stores`` joins them, so nobody subclasses one alone. Each begins with ``samples.OpenedStore``.
"""
