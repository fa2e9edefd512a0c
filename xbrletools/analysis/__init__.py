"""What a capture adds up to, and how it compares with what its makers wrote down."""
