"""Several runs side by side, each in a process of its own: seeds of one configuration, or any list."""
