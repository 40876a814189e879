"""What a person holds in Python: a run, a lake, an index, rows, findings.

Each opens what a run has left and asks the products; none decides anything.

May import: filters, lake, flows, reports, engines, config, core, formats, models and
pages; torch in `torch_rows` alone, datasets and pandas inside functions.
"""
