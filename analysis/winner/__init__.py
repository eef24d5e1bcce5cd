"""The best configuration: ranked, confirmed over fresh seeds, exported."""
