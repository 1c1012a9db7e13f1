"""One module a protocol: wire to Turn and Reply to wire. No SQL, no prompts."""
