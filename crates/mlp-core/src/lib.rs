//! The vocabulary of the mlp libraries: traits and nouns that capabilities exchange.
