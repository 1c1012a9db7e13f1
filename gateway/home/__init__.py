"""The home: commands understood without the model, against what the client says is there."""
