"""Where orders go and market events come from: adapters behind the ports of the engine."""
