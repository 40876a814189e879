"""What every page is drawn with: closed SQL, charts, numbers that say their query."""
