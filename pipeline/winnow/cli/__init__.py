"""The command `winnow`: one file per group of commands.

May import: api and the products, inside functions.
"""
