"""Feedback on turns, and its export for fine-tuning."""
