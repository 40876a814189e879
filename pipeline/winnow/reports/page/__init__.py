"""The pages that a run leaves: `report.html`, and the difference of two runs.

A page is one file that needs no network and no script: numbers come from SQL over the
run (and name their query), charts are SVG, pictures are thumbnails in the page.

May import: core, reports, models.images and models.language; jinja2, vl_convert,
PIL. Never steps, algorithms or a model.
"""
