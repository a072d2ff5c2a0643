"""From an exchange to klines: network, budget, REST, sockets and the core that judges them."""
