"""A server for agents: what they may ask of runs, by the Model Context Protocol.

May import: api, config, handles, core.
"""
