"""What the domain and the workers need from outside; adapters implement it, `adapters.memory` fakes it."""
