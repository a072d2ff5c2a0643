"""The Binance-shaped REST and WebSocket dialect, spoken over any `Source` of bars."""
