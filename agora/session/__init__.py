"""The asyncio shell of a run: clock, runner, recovery, controls. Carries out what the engine decides."""
