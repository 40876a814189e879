"""The pages that a run leaves: `report.html`, and the difference of two runs.

A page is one file that needs no network and no script: numbers come from SQL over the
run (and name their query), charts are SVG, pictures are thumbnails in the page.

May import: what `reports` may.
"""
