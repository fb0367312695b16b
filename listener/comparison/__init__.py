"""What a replay would have told under another model or config: incidents matched, differences named, shown."""
