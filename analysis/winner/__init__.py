"""The best configuration: ranked, looked at on the test images, exported."""
