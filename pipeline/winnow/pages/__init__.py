"""What every page is drawn with: closed SQL, charts, numbers that say their query.

May import: core, duckdb, jinja2, vl_convert. Never a product.
"""
