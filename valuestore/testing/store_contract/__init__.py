"""The facts that StoreContract (testing/stores.py) consists of, one file for each side of the contract."""
