"""The ground floor of everything that runs: folders, settings, interruptions, files, paths and tables."""
