"""The models: chat and embeddings, by Ollama or embedded, and the queue in front of them."""
