"""What the home does by itself, in the manner of Home Assistant's automations, with the assistant as one step."""
