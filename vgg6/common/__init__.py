"""What has nothing to do with networks: checks, files, intervals, messages."""
