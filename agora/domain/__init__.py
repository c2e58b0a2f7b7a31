"""Values, life-cycle tables and exact arithmetic. Knows nothing of the rest of Agora, of files or of time."""
