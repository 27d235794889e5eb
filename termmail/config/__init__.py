"""Settings, keys, themes and secrets: what the user decides."""
