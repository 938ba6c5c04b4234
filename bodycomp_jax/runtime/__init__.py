"""What every program stands on: flags, messages, files, devices and processes; no network."""
