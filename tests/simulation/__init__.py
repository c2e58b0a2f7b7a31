"""A machine made of values: a disk that loses what was not synced, an event loop whose time is a number."""
