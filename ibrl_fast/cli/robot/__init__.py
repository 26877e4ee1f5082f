"""The subcommands of `ibrl-fast robot`, one small module each."""
