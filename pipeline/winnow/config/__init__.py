"""One frozen, validated model per step; recipes from YAML.

May import: core, pydantic, yaml. Never algorithms or engines.
"""
