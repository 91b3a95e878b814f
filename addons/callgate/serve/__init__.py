"""Configuration, start-up checks, opening the rooms, the lean master, the admin listener."""
