"""The words of the field: timeframe, kline, listing, clock."""
