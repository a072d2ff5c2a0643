"""What a user starts: settings, the command line and the library's front door."""
