"""Prove the statistics: how often a healthy canary is blamed, and how soon a bad one is found."""
