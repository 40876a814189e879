"""Ordered steps and what runs them: check, plan, resume, account.

May import: steps, reports, formats, indexes, config, core, models for their names.
Never a concrete engine.
"""
