"""May refuse or stop, never acts: limits on one intent, breakers on the run, watchdogs on time."""
