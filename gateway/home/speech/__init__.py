"""What is said about the home, understood without a model, and what is said in answer."""
