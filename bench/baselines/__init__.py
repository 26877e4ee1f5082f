"""What the benches compare with: code as one would write it without this package, and other packages."""
