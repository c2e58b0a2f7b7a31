"""Pure proposals: a trader looks at closed bars and says what it wants; what happens is decided elsewhere."""
