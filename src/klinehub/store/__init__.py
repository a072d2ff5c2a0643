"""What is kept on disk: the newest bars as slices, years of them as Parquet."""
