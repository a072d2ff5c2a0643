"""The relay: one hub's market for hubs on other machines, over NATS."""
