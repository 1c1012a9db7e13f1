"""What the household told the gateway: preferences, knowledge, and recalling them into a turn."""
