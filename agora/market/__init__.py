"""The agents' market: what happens in one tick, decided in one pure step."""
