"""The table product: which tables lie in others, and which of them may go."""
