"""How things at home tell of themselves and are commanded: each platform, and what its descriptions come to."""
