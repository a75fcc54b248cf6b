"""From segments back: queries, checks, Parquet copies, exports, statistics, and outcomes that arrive later."""
