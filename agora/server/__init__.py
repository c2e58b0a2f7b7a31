"""The API: a market and the runs of this machine over HTTP and WebSocket, on the event loop of whoever serves it."""
