"""What is taken away: tables, bundles, texts, weights."""
